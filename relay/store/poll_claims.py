"""The claim of a poll in SQL: which ten jobs the next call asks about, and the budget's token for it.

Hinted jobs come first, then those that are due, the oldest first, filled up with those due next. Where more
are due than have room, their owners take turns for the places: max-min fair, and the only state is whose turn
it was. A claim is one transaction under the budget's lock, so claims do not meet each other; they pass over
jobs that others have locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from sqlalchemy import case, literal, or_, select, union_all, update

from relay.core.poll_policy import CLOSEST_POLLS
from relay.core.records import Micros
from relay.core.schedule import SUSPECT_AFTER
from relay.store import budget
from relay.store.engine import Tx, among, lock
from relay.store.tables import Job, Upstream

IDS_PER_CALL = 10  # the provider's limit
# Owners looked at in one claim for jobs that are due; with more than so many, some are passed over this time
# and have their turn in a later call.
OWNERS_LOOKED_AT = 200


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

    No jobs: nothing is due, or `not_before` says when there may be a call or enough jobs to fill it.
    """

    token: str
    jobs: tuple[ClaimedJob, ...]
    not_before: Micros | None = None
    taken_at: Micros = 0


def next_due(tx: Tx) -> Micros | None:
    """When the next poll may be made: a job is due and the budget has a call; None while nobody waits."""
    due_at = tx.scalar(select(Job.due_at).where(Job.due_at.is_not(None)).order_by(Job.due_at).limit(1))
    if due_at is None:
        return None
    next_call_at = tx.scalar(select(Upstream.next_call_at).where(Upstream.source == budget.SOURCE))
    return max(due_at, next_call_at or 0)


def claim(tx: Tx, *, now: Micros, lease: Micros, token: str, call_interval: Micros) -> PollClaim:
    """Lease up to ten jobs and take the budget's call.

    A call costs the same for one id as for ten, so none leaves with fewer while more jobs wait: where ten
    wait but some were asked about within the last two seconds, the call waits for them.
    """
    state = budget.lock_budget(tx)
    if state.next_call_at > now:
        return PollClaim(token, (), state.next_call_at)
    chosen, turn = _due(tx, now, state.turn)
    suspects = [row for row in chosen if _is_suspect(row)]
    if suspects:
        chosen = suspects[:1]  # one that two processes in a row died with goes alone
    elif 0 < len(chosen) < IDS_PER_CALL:
        chosen += _due_next(tx, now, IDS_PER_CALL - len(chosen))
        full_at = _full_at(tx, now, chosen)
        if full_at is not None:
            return PollClaim(token, (), full_at)
    if not chosen:
        return PollClaim(token, ())
    _lease(tx, [row.id for row in chosen], now + lease, token, now)
    not_before = budget.spend_call(tx, state, now, call_interval, turn)
    return PollClaim(token, tuple(_claimed(row) for row in chosen), not_before, now)


_COLUMNS = (
    Job.id,
    Job.job_id,
    Job.owner,
    Job.token,
    Job.attempt_count,
    Job.lost_count,
    Job.polled_at,
    Job.hinted_at,
)


def _due(tx: Tx, now: Micros, turn: str) -> tuple[list[Any], str]:
    """Due jobs, at most ten, and whose turn it was if not all of them had room."""
    hinted = select(*_COLUMNS).where(Job.hinted_at.is_not(None), Job.due_at <= now).order_by(Job.hinted_at)
    rows = list(tx.execute(lock(hinted.limit(IDS_PER_CALL), skip=True)))
    room = IDS_PER_CALL - len(rows)
    due = Job.hinted_at.is_(None) & (Job.due_at <= now)
    others = (
        list(tx.execute(lock(select(*_COLUMNS).where(due).order_by(Job.due_at).limit(room + 1), skip=True)))
        if room
        else []
    )
    if len(others) <= room:
        return rows + others, ""
    shared = _by_turns(tx, now, turn, room) or others[:room]
    return rows + shared, str(shared[-1].owner or "")


def _by_turns(tx: Tx, now: Micros, turn: str, room: int) -> list[Any]:
    """As many due jobs as there is room, one of each owner by turns, each owner's oldest first."""
    owners = _owners_due(tx, now, turn, room)
    if not owners:
        return []
    due = select(Job.id, Job.owner, Job.due_at).where(Job.hinted_at.is_(None), Job.due_at <= now)
    oldest = due.order_by(Job.due_at).limit(room)
    rows = tx.execute(union_all(*(select(oldest.where(Job.owner == one).subquery()) for one in owners)))
    queues: dict[str, list[int]] = {owner: [] for owner in owners}
    for row in sorted(rows, key=lambda row: int(row.due_at)):
        queues[row.owner].append(row.id)
    keys = [key for key in chain.from_iterable(zip_longest(*queues.values())) if key is not None][:room]
    locked = lock(select(*_COLUMNS).where(among(tx, Job.id, sorted(keys)), Job.due_at <= now), skip=True)
    found = {row.id: row for row in tx.execute(locked)}
    return [found[key] for key in keys if key in found]


def _owners_due(tx: Tx, now: Micros, turn: str, most: int) -> list[str]:
    """Owners of due jobs in the order of their turns: those after `turn` by id, then from the start."""
    after = _owners_after(tx, now, turn, most)
    if len(after) == most or not turn:
        return after
    return after + [owner for owner in _owners_after(tx, now, "", most - len(after)) if owner <= turn]


def _owners_after(tx: Tx, now: Micros, turn: str, most: int) -> list[str]:
    """A walk from owner to owner along the index, which reads two entries of each, however many it has."""
    walk = select(_next_owner(literal(turn)).label("owner"), literal(1).label("step")).cte(recursive=True)
    step = select(_next_owner(walk.c.owner), walk.c.step + 1)
    walk = walk.union_all(step.where(walk.c.owner.is_not(None), walk.c.step < OWNERS_LOOKED_AT))
    first = select(Job.due_at).where(Job.owner == walk.c.owner).order_by(Job.due_at).limit(1)
    is_due = first.correlate(walk).scalar_subquery() <= now
    found = select(walk.c.owner).where(walk.c.owner.is_not(None), is_due)
    return [str(owner) for owner in tx.scalars(found.order_by(walk.c.step).limit(most))]


def _next_owner(after: Any) -> Any:
    # Not min(owner): in such a subquery MariaDB would read all owners after this one.
    following = select(Job.owner).where(Job.owner > after).order_by(Job.owner, Job.due_at).limit(1)
    return following.correlate_except(Job).scalar_subquery()


def _due_next(tx: Tx, now: Micros, count: int) -> list[Any]:
    """Jobs that are not due yet but may be asked again, those due next first."""
    asked_long_ago = or_(Job.polled_at.is_(None), Job.polled_at <= now - CLOSEST_POLLS)
    waiting = select(*_COLUMNS).where(Job.due_at > now, Job.token.is_(None), Job.lost_count < SUSPECT_AFTER)
    return list(tx.execute(lock(waiting.where(asked_long_ago).order_by(Job.due_at).limit(count), skip=True)))


def _full_at(tx: Tx, now: Micros, chosen: Sequence[Any]) -> Micros | None:
    """When ten jobs can go, if so many wait; None if the call has to go as it is, as with a hinted job."""
    missing = IDS_PER_CALL - len(chosen)
    if missing == 0 or any(row.hinted_at is not None for row in chosen):
        return None
    just_asked = select(Job.polled_at).where(
        Job.due_at > now, Job.token.is_(None), Job.lost_count < SUSPECT_AFTER, Job.polled_at.is_not(None)
    )
    times = list(
        tx.scalars(
            just_asked.where(Job.polled_at > now - CLOSEST_POLLS).order_by(Job.polled_at).limit(missing)
        )
    )
    return times[-1] + CLOSEST_POLLS if len(times) == missing and times[-1] is not None else None


def _is_suspect(row: Any) -> bool:
    return bool(row.lost_count + (row.token is not None) >= SUSPECT_AFTER)


def _lease(tx: Tx, keys: Sequence[int], until: Micros, token: str, now: Micros) -> None:
    """Take the rows. In this order: MySQL reads what an UPDATE has just set, and the old token counts."""
    lost_count = case((Job.token.is_not(None), Job.lost_count + 1), else_=Job.lost_count)
    tx.execute(
        update(Job)
        .where(among(tx, Job.id, sorted(keys)))
        .ordered_values(
            (Job.lost_count, lost_count),
            (Job.attempt_count, Job.attempt_count + 1),
            (Job.due_at, until),
            (Job.token, token),
            (Job.polled_at, now),
            (Job.hint_polls, Job.hint_polls + 1),
        )
    )


def _claimed(row: Any) -> ClaimedJob:
    return ClaimedJob(
        key=row.id,
        job_id=row.job_id,
        number=row.attempt_count + 1,
        lost_count=row.lost_count + (row.token is not None),
        polled_at=row.polled_at,
    )
