"""Hints in SQL: jobs that VOD says may have ended are asked first, and a few times again while still open.

A hint is marked on the job's own row, also while a poll has it claimed: it is not lost, the settle
sees it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, null, select, update

from relay.common.states import JobStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, lock, update_rows
from relay.db.tables import Job
from relay.polling.rules.poll_policy import CLOSEST_POLLS
from relay.provider.list_ai_job.rules.events import ask_again_at
from relay.provider.source import SOURCE


def mark(tx: Tx, job_ids: Sequence[str], now: Micros) -> int:
    """Make these jobs due as soon as they may be asked; returns how many of them are waited for.

    A claimed one keeps its lease: its settle makes it due again.
    """
    rows = tx.execute(
        lock(
            select(Job.id, Job.token, Job.due_at, Job.polled_at)
            .where(
                Job.source == SOURCE,
                among(tx, Job.job_id, job_ids),
                Job.status == JobStatus.OPEN,
                Job.due_at.is_not(None),
            )
            .order_by(Job.id)
        )
    ).all()
    statement = (
        update(Job)
        .where(Job.id == bindparam("row"))
        .values(due_at=bindparam("next"), provider_event_at=now, provider_event_polls=0)
    )
    update_rows(tx, statement, [{"row": row.id, "next": _due_at(row, now)} for row in rows])
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
    """When claimed jobs, locked, are asked again: as in `due`, the hinted that are still open sooner.

    Takes the hint from those that have ended, that nobody waits for, or that were asked often
    enough.
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
    if used_up:
        tx.execute(
            update(Job)
            .where(among(tx, Job.id, used_up))
            .values(provider_event_at=null(), provider_event_polls=null())
        )
    return times


def was_not_asked(tx: Tx, live: Mapping[int, Any]) -> None:
    """The polls of these jobs told nothing: they do not count against their hints."""
    marked = [key for key, row in live.items() if row.provider_event_at is not None]
    if marked:
        tx.execute(update(Job).where(among(tx, Job.id, marked)).values(provider_event_polls=0))
