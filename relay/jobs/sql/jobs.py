"""Finds and locks jobs: for those who watch them, and for the result of a poll."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, or_, select

from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, insert_if_absent, lock
from relay.db.tables import Job, Watch
from relay.jobs.sql import moves

JobName = tuple[str, str]
"""What names a job: its source, and its id there."""


def find_or_make(tx: Tx, names: Iterable[JobName], now: Micros) -> dict[JobName, Any]:
    """Name → row, locked (first in the order of locks); unknown jobs are made, not yet due."""
    ordered = sorted(set(names))
    if not ordered:
        return {}
    by_source: dict[str, list[str]] = {}
    for source, job_id in ordered:
        by_source.setdefault(source, []).append(job_id)
    named = or_(*((Job.source == source) & among(tx, Job.job_id, ids) for source, ids in by_source.items()))
    columns = (Job.id, Job.source, Job.job_id, Job.status, Job.due_at, Job.missing_count, Job.data_bytes)
    known = {(row.source, row.job_id) for row in tx.execute(select(Job.source, Job.job_id).where(named))}
    while True:
        insert_if_absent(tx, Job, [moves.idle_row(*name, now) for name in ordered if name not in known])
        rows = tx.execute(lock(select(*columns).where(named).order_by(Job.id)))
        found = {(row.source, row.job_id): row for row in rows}
        if len(found) == len(ordered):
            return found
        known = set(found)  # a job that was there before was pruned before it could be locked


def lock_in_order(tx: Tx, keys: Iterable[int]) -> None:
    """Lock jobs, each by id: whoever changes their watches holds this first."""
    ordered = sorted(set(keys))
    if ordered:
        tx.execute(lock(select(Job.id).where(among(tx, Job.id, ordered)).order_by(Job.id))).all()


# Statements that every poll runs are made once: building them would cost as much as running them.
_FIRST_DEADLINE = (
    select(Watch.due_at)
    .where(Watch.job == Job.id, Watch.due_at.is_not(None))
    .order_by(Watch.due_at)
    .limit(1)
    .correlate(Job)
    .scalar_subquery()
)
_LOCK = lock(select(Job.id).where(Job.id.in_(bindparam("keys", expanding=True))).order_by(Job.id))
_CLAIMED = (
    select(
        Job.id,
        Job.job_id,
        Job.token,
        Job.attempt_count,
        Job.missing_count,
        Job.owner,
        Job.type,
        Job.creation_time,
        Job.created_at,
        Job.polled_at,
        Job.provider_event_at,
        Job.provider_event_polls,
        _FIRST_DEADLINE.label("deadline"),
    )
    .where(Job.id.in_(bindparam("keys", expanding=True)))
    .order_by(Job.id)
)


def lock_claimed(tx: Tx, token: str, numbers: Mapping[int, int]) -> dict[int, Any]:
    """Lock claimed jobs and return the rows whose claim still stands; `numbers` are poll by key.

    `deadline` is the first of the watches that wait, None for a job that nobody waits for any more.
    It is read by a statement of its own, after the locks: a statement that waits for a lock sees
    other rows as they were before, and would miss the watch that was added meanwhile.
    """
    keys = {"keys": sorted(numbers)}
    tx.execute(_LOCK, keys).all()
    rows = tx.execute(_CLAIMED, keys)
    return {row.id: row for row in rows if row.token == token and row.attempt_count == numbers[row.id]}
