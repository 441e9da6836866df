"""Claims the jobs that the next call asks about, and that call of the rate limiter.

Jobs with a provider event come first, then those that are due, the oldest first, filled up with
those due next. Where more are due than have a place, the places go round their owners: max-min
fair, and the only state is who had the last place. A claim is one transaction under the lock of the
rate limiter, so claims of one source do not meet; they pass over jobs that others have locked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, or_, select

from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.leases import POISON_AFTER
from relay.db.statements import lock
from relay.db.tables import Job, Upstream
from relay.jobs.sql import moves
from relay.polling.rules.poll_policy import CLOSEST_POLLS
from relay.polling.sql import rate_limiter
from relay.provider.source import JobSource

# Owners whose jobs one claim reads: where more have jobs but few have due ones, some wait for a
# later call.
OWNERS_SCANNED = 100
AFTER_EVERY_OWNER = "~"  # after every id


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job leased to one poll; `lost_count` counts the polls of it in a row whose process died.

    `polled_at` is when it was last asked about before this.
    """

    key: int
    job_id: str
    number: int
    lost_count: int
    polled_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class PollClaim:
    """The jobs of one call, leased at `taken_at`; the next call may be made at `not_before`.

    `is_news` says that an answer has to be noted, as the source was down or has not answered
    lately. No jobs: nothing is due, or `not_before` says when a call or enough jobs are there.
    """

    source: JobSource
    token: str
    jobs: tuple[ClaimedJob, ...]
    not_before: Micros | None = None
    taken_at: Micros = 0
    is_news: bool = True


def next_due(tx: Tx, source: str) -> Micros | None:
    """When a job is due and a call of the source is free; None while nobody waits."""
    waiting = (Job.source == source) & Job.due_at.is_not(None)
    due_at = tx.scalar(select(Job.due_at).where(waiting).order_by(Job.due_at).limit(1))
    if due_at is None:
        return None
    next_call_at = tx.scalar(select(Upstream.next_call_at).where(Upstream.source == source))
    return max(due_at, next_call_at or 0)


def claim(
    tx: Tx, source: JobSource, *, now: Micros, lease: Micros, token: str, call_interval: Micros
) -> PollClaim:
    """Lease as many jobs as a call takes, and take the call.

    A call costs the same for one id as for ten, so none leaves with fewer while more jobs wait:
    where ten wait but some were asked about within the last two seconds, the call waits for them.
    """
    state = rate_limiter.lock_rate_limiter(tx, source.name)
    if state.next_call_at > now:
        return PollClaim(source, token, (), state.next_call_at)
    chosen, last_owner = _due(tx, source, now, state.last_owner)
    poison = [row for row in chosen if _is_poison(row)]
    if poison:
        chosen = poison[:1]  # a job that two processes in a row died with goes alone
    elif 0 < len(chosen) < source.ids_per_call:
        chosen += _due_next(tx, source, now, source.ids_per_call - len(chosen))
        full_at = _full_at(tx, source, now, chosen)
        if full_at is not None:
            return PollClaim(source, token, (), full_at)
    if not chosen:
        return PollClaim(source, token, ())
    moves.lease(tx, sorted(row.id for row in chosen), token, now, now + lease)
    not_before = rate_limiter.spend_call(tx, source.name, state, now, call_interval, last_owner)
    is_news = rate_limiter.wants_news(state, now)
    return PollClaim(source, token, tuple(_claimed(row) for row in chosen), not_before, now, is_news)


# Statements that every call runs are made once: building them would cost as much as running them.
_COLUMNS = (
    Job.id,
    Job.job_id,
    Job.owner,
    Job.token,
    Job.attempt_count,
    Job.lost_count,
    Job.polled_at,
    Job.provider_event_at,
)
_OF_SOURCE = Job.source == bindparam("source")
_DUE = Job.due_at <= bindparam("now")
_WITH_PROVIDER_EVENT = lock(
    select(*_COLUMNS)
    # Adding 0 keeps SQLite from going through all due jobs by their index to find these few.
    .where(_OF_SOURCE, Job.provider_event_at.is_not(None), Job.due_at + 0 <= bindparam("now"))
    .order_by(Job.provider_event_at)
    .limit(bindparam("capacity")),
    skip=True,
)
_OLDEST = lock(
    select(*_COLUMNS)
    .where(_OF_SOURCE, Job.provider_event_at.is_(None), _DUE)
    .order_by(Job.due_at)
    .limit(bindparam("capacity")),
    skip=True,
)
_CHOSEN = lock(select(*_COLUMNS).where(Job.id.in_(bindparam("keys", expanding=True)), _DUE), skip=True)
_MAY_BE_ASKED_SOON = (
    _OF_SOURCE & (Job.due_at > bindparam("now")) & Job.token.is_(None) & (Job.lost_count < POISON_AFTER)
)
_DUE_NEXT = lock(
    select(*_COLUMNS)
    .where(_MAY_BE_ASKED_SOON, or_(Job.polled_at.is_(None), Job.polled_at <= bindparam("long_ago")))
    .order_by(Job.due_at)
    .limit(bindparam("capacity")),
    skip=True,
)
_JUST_ASKED = (
    select(Job.polled_at)
    .where(_MAY_BE_ASKED_SOON, Job.polled_at > bindparam("long_ago"))
    .order_by(Job.polled_at)
    .limit(bindparam("capacity"))
)
_HEADS = (
    select(Job.id, Job.owner, Job.due_at, Job.provider_event_at)
    .where(_OF_SOURCE, Job.owner > bindparam("after"), Job.owner <= bindparam("last"))
    .order_by(Job.owner, Job.due_at)
    .limit(bindparam("capacity"))
)


def _due(tx: Tx, source: JobSource, now: Micros, last_owner: str) -> tuple[list[Any], str]:
    """Due jobs for one call, and who got the last place if there was not one for all of them."""
    places = {"source": source.name, "now": now, "capacity": source.ids_per_call}
    rows = list(tx.execute(_WITH_PROVIDER_EVENT, places))
    capacity = source.ids_per_call - len(rows)
    others = list(tx.execute(_OLDEST, places | {"capacity": capacity + 1})) if capacity else []
    if len(others) <= capacity:
        return rows + others, ""
    shared = _round_robin(tx, source.name, now, last_owner, capacity) or others[:capacity]
    return rows + shared, str(shared[-1].owner or "")


def _due_next(tx: Tx, source: JobSource, now: Micros, capacity: int) -> list[Any]:
    """Jobs that fill up a call although they are not due yet."""
    long_ago = now - CLOSEST_POLLS
    parameters = {"source": source.name, "now": now, "long_ago": long_ago, "capacity": capacity}
    return list(tx.execute(_DUE_NEXT, parameters))


def _round_robin(tx: Tx, source: str, now: Micros, last_owner: str, capacity: int) -> list[Any]:
    """Due jobs for a call's places, one of each owner in a round, each owner's oldest first."""
    queues = _queues(tx, source, now, last_owner, capacity)
    keys = [key for key in chain.from_iterable(zip_longest(*queues.values())) if key is not None][:capacity]
    if not keys:
        return []
    found = {row.id: row for row in tx.execute(_CHOSEN, {"now": now, "keys": sorted(keys)})}
    return [found[key] for key in keys if key in found]


def _queues(tx: Tx, source: str, now: Micros, last_owner: str, capacity: int) -> dict[str, list[int]]:
    """Owner → oldest due jobs: first the owners after `last_owner` by id, then those up to it."""
    queues: dict[str, list[int]] = {}
    scanned = 0
    after, before = ((last_owner, AFTER_EVERY_OWNER), ("", last_owner))
    for heads in chain(_walk(tx, source, *after, capacity), _walk(tx, source, *before, capacity)):
        for owner, jobs in heads.items():
            due = [row.id for row in jobs if row.due_at <= now and row.provider_event_at is None]
            if due:
                queues[owner] = due
        scanned += len(heads)
        if len(queues) >= capacity or scanned >= OWNERS_SCANNED:
            break
    return dict(list(queues.items())[:capacity])


def _walk(tx: Tx, source: str, after: str, last: str, capacity: int) -> Iterator[dict[str, list[Any]]]:
    """Walk along the index: some owners at a time, with the first of their open jobs."""
    while after < last:
        parameters = {"source": source, "after": after, "last": last, "capacity": capacity}
        rows = list(tx.execute(_HEADS, parameters))
        heads = {str(owner): list(jobs) for owner, jobs in groupby(rows, key=attrgetter("owner"))}
        if len(rows) < capacity:
            after = last
        else:
            if len(heads) > 1:
                heads.popitem()  # cut short: the next statement begins with this owner
            after = max(heads)
        yield heads


def _full_at(tx: Tx, source: JobSource, now: Micros, chosen: Sequence[Any]) -> Micros | None:
    """When a full call can go, if so many jobs wait; None if it has to go as it is.

    A call with a job that has a provider event does not wait.
    """
    missing = source.ids_per_call - len(chosen)
    if missing == 0 or any(row.provider_event_at is not None for row in chosen):
        return None
    long_ago = now - CLOSEST_POLLS
    parameters = {"source": source.name, "now": now, "long_ago": long_ago, "capacity": missing}
    times = list(tx.scalars(_JUST_ASKED, parameters))
    return times[-1] + CLOSEST_POLLS if len(times) == missing and times[-1] is not None else None


def _is_poison(row: Any) -> bool:
    return bool(row.lost_count + (row.token is not None) >= POISON_AFTER)


def _claimed(row: Any) -> ClaimedJob:
    return ClaimedJob(
        key=row.id,
        job_id=row.job_id,
        number=row.attempt_count + 1,
        lost_count=row.lost_count + (row.token is not None),
        polled_at=row.polled_at,
    )
