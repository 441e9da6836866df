"""The claim of a poll in SQL: which ten jobs the next call asks about, and the budget's token for it.

Hinted jobs come first, then those that are due, the oldest first, filled up with those due next.
Where more are due than have room, their owners take turns for the places: max-min fair, and the
only state is whose turn it was. A claim is one transaction under the budget's lock, so claims do
not meet each other; they pass over jobs that others have locked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, case, or_, select, update

from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.leases import POISON_AFTER
from relay.db.statements import lock
from relay.db.tables import Job, Upstream
from relay.polling.rules.poll_policy import CLOSEST_POLLS
from relay.polling.sql import rate_limiter
from relay.provider.source import SOURCE

IDS_PER_CALL = 10  # the provider's limit
# Owners looked at for due jobs in one claim: where more have jobs but few have due ones, some wait
# for a later call.
OWNERS_LOOKED_AT = 100
LAST_OWNER = "~"  # after every id


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

    `is_news` says that an answer has to be noted, as the provider was down or has not been heard of
    lately.

    No jobs: nothing is due, or `not_before` says when there may be a call or enough jobs to fill
    it.
    """

    token: str
    jobs: tuple[ClaimedJob, ...]
    not_before: Micros | None = None
    taken_at: Micros = 0
    is_news: bool = True


def next_due(tx: Tx) -> Micros | None:
    """When the next poll may be made: a job is due and the budget has a call; None while nobody waits."""
    due_at = tx.scalar(select(Job.due_at).where(Job.due_at.is_not(None)).order_by(Job.due_at).limit(1))
    if due_at is None:
        return None
    next_call_at = tx.scalar(select(Upstream.next_call_at).where(Upstream.source == SOURCE))
    return max(due_at, next_call_at or 0)


def claim(tx: Tx, *, now: Micros, lease: Micros, token: str, call_interval: Micros) -> PollClaim:
    """Lease up to ten jobs and take the budget's call.

    A call costs the same for one id as for ten, so none leaves with fewer while more jobs wait:
    where ten wait but some were asked about within the last two seconds, the call waits for them.
    """
    state = rate_limiter.lock_rate_limiter(tx)
    if state.next_call_at > now:
        return PollClaim(token, (), state.next_call_at)
    chosen, last_owner = _due(tx, now, state.last_owner)
    poison = [row for row in chosen if _is_poison(row)]
    if poison:
        chosen = poison[:1]  # one that two processes in a row died with goes alone
    elif 0 < len(chosen) < IDS_PER_CALL:
        capacity = IDS_PER_CALL - len(chosen)
        chosen += tx.execute(_DUE_NEXT, {"now": now, "long_ago": now - CLOSEST_POLLS, "room": capacity})
        full_at = _full_at(tx, now, chosen)
        if full_at is not None:
            return PollClaim(token, (), full_at)
    if not chosen:
        return PollClaim(token, ())
    keys = sorted(row.id for row in chosen)
    tx.execute(_LEASE, {"keys": keys, "until": now + lease, "claim": token, "now": now})
    not_before = rate_limiter.spend_call(tx, state, now, call_interval, last_owner)
    due_news = rate_limiter.wants_news(state, now)
    return PollClaim(token, tuple(_claimed(row) for row in chosen), not_before, now, due_news)


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
_DUE = Job.due_at <= bindparam("now")
_WITH_PROVIDER_EVENT = lock(
    select(*_COLUMNS)
    .where(Job.provider_event_at.is_not(None), _DUE)
    .order_by(Job.provider_event_at)
    .limit(IDS_PER_CALL),
    skip=True,
)
_OLDEST = lock(
    select(*_COLUMNS)
    .where(Job.provider_event_at.is_(None), _DUE)
    .order_by(Job.due_at)
    .limit(bindparam("room")),
    skip=True,
)
_CHOSEN = lock(select(*_COLUMNS).where(Job.id.in_(bindparam("keys", expanding=True)), _DUE), skip=True)
_MAY_BE_ASKED_SOON = (Job.due_at > bindparam("now")) & Job.token.is_(None) & (Job.lost_count < POISON_AFTER)
_DUE_NEXT = lock(
    select(*_COLUMNS)
    .where(_MAY_BE_ASKED_SOON, or_(Job.polled_at.is_(None), Job.polled_at <= bindparam("long_ago")))
    .order_by(Job.due_at)
    .limit(bindparam("room")),
    skip=True,
)
_JUST_ASKED = (
    select(Job.polled_at)
    .where(_MAY_BE_ASKED_SOON, Job.polled_at > bindparam("long_ago"))
    .order_by(Job.polled_at)
    .limit(bindparam("room"))
)
_HEADS = (
    select(Job.id, Job.owner, Job.due_at, Job.provider_event_at)
    .where(Job.owner > bindparam("after"), Job.owner <= bindparam("last"))
    .order_by(Job.owner, Job.due_at)
    .limit(bindparam("room"))
)
_LEASE = (
    update(Job)
    .where(Job.id.in_(bindparam("keys", expanding=True)))
    .ordered_values(  # in this order: MySQL reads what an UPDATE has just set, and the old token counts
        (Job.lost_count, case((Job.token.is_not(None), Job.lost_count + 1), else_=Job.lost_count)),
        (Job.attempt_count, Job.attempt_count + 1),
        (Job.due_at, bindparam("until")),
        (Job.token, bindparam("claim")),
        (Job.polled_at, bindparam("now")),
        (Job.provider_event_polls, Job.provider_event_polls + 1),
    )
)


def _due(tx: Tx, now: Micros, last_owner: str) -> tuple[list[Any], str]:
    """Due jobs, at most ten, and whose turn it was if not all of them had room."""
    rows = list(tx.execute(_WITH_PROVIDER_EVENT, {"now": now}))
    capacity = IDS_PER_CALL - len(rows)
    others = list(tx.execute(_OLDEST, {"now": now, "room": capacity + 1})) if capacity else []
    if len(others) <= capacity:
        return rows + others, ""
    shared = _round_robin(tx, now, last_owner, capacity) or others[:capacity]
    return rows + shared, str(shared[-1].owner or "")


def _round_robin(tx: Tx, now: Micros, last_owner: str, capacity: int) -> list[Any]:
    """As many due jobs as there is room, one of each owner by turns, each owner's oldest first."""
    queues = _queues(tx, now, last_owner, capacity)
    keys = [key for key in chain.from_iterable(zip_longest(*queues.values())) if key is not None][:capacity]
    found = {row.id: row for row in tx.execute(_CHOSEN, {"now": now, "keys": sorted(keys)})} if keys else {}
    return [found[key] for key in keys if key in found]


def _queues(tx: Tx, now: Micros, last_owner: str, capacity: int) -> dict[str, list[int]]:
    """Owner to the oldest jobs due, in the order of turns: owners after `turn` by id, then those up to it."""
    queues: dict[str, list[int]] = {}
    looked_at = 0
    for heads in chain(_walk(tx, last_owner, LAST_OWNER, capacity), _walk(tx, "", last_owner, capacity)):
        for owner, jobs in heads.items():
            due = [row.id for row in jobs if row.due_at <= now and row.provider_event_at is None]
            if due:
                queues[owner] = due
        looked_at += len(heads)
        if len(queues) >= capacity or looked_at >= OWNERS_LOOKED_AT:
            break
    return dict(list(queues.items())[:capacity])


def _walk(tx: Tx, after: str, last: str, capacity: int) -> Iterator[dict[str, list[Any]]]:
    """Walk along the index from owner to owner: some owners at a time, with the first of their open jobs."""
    while after < last:
        rows = list(tx.execute(_HEADS, {"after": after, "last": last, "room": capacity}))
        heads = {str(owner): list(jobs) for owner, jobs in groupby(rows, key=attrgetter("owner"))}
        if len(rows) < capacity:
            after = last
        else:
            if len(heads) > 1:
                heads.popitem()  # cut short: the next look begins with this one
            after = max(heads)
        yield heads


def _full_at(tx: Tx, now: Micros, chosen: Sequence[Any]) -> Micros | None:
    """When ten jobs can go, if so many wait; None if the call has to go as it is, as with a hinted job."""
    missing = IDS_PER_CALL - len(chosen)
    if missing == 0 or any(row.provider_event_at is not None for row in chosen):
        return None
    times = list(tx.scalars(_JUST_ASKED, {"now": now, "long_ago": now - CLOSEST_POLLS, "room": missing}))
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
