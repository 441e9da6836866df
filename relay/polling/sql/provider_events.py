"""Provider events: jobs that may have ended are asked about first, and again while still open.

An event is marked on the job's own row, also while a poll has it claimed: so it is not lost, as the
result of that poll finds it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from relay.common.states import JobStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, lock
from relay.db.tables import Job
from relay.jobs.sql import moves
from relay.polling.rules.poll_policy import CLOSEST_POLLS
from relay.polling.rules.provider_events import ask_again_at


def mark(tx: Tx, source: str, job_ids: Sequence[str], now: Micros) -> int:
    """Make these jobs due as soon as they may be asked about; returns how many have watches.

    A claimed job keeps its lease: the result of its poll makes it due again.
    """
    rows = tx.execute(
        lock(
            select(Job.id, Job.token, Job.due_at, Job.polled_at)
            .where(
                Job.source == source,
                among(tx, Job.job_id, job_ids),
                Job.status == JobStatus.OPEN,
                Job.due_at.is_not(None),
            )
            .order_by(Job.id)
        )
    ).all()
    moves.expect(tx, {row.id: _due_at(row, now) for row in rows}, now)
    return len(rows)


def _due_at(row: Any, now: Micros) -> Micros:
    due_at: Micros = row.due_at
    if row.token is not None:
        return due_at
    may_be_asked_at: Micros = 0 if row.polled_at is None else row.polled_at + CLOSEST_POLLS
    return min(due_at, max(now, may_be_asked_at))


def follow_up(
    tx: Tx, live: Mapping[int, Any], due: Mapping[int, Micros | None], ended: Collection[int], now: Micros
) -> dict[int, Micros | None]:
    """When claimed jobs are due again: as in `due`, but sooner where an event named an open job.

    The jobs are locked. The event is used up where the job has ended, nobody waits for it, or it
    was asked about often enough.
    """
    times = dict(due)
    used_up = []
    for key, row in live.items():
        if row.provider_event_at is None:
            continue
        regular = due[key]
        again = ask_again_at(now, row.provider_event_polls, row.polled_at + CLOSEST_POLLS)
        if again is None or regular is None or key in ended:
            used_up.append(key)
        else:
            times[key] = min(again, regular)
    moves.expect_no_more(tx, used_up)
    return times
