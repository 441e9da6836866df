"""Hints in SQL: jobs that VOD says may have ended are asked first, and a few times again while still open.

A hint is marked on the job's own row, also while a poll has it claimed: it is not lost, the settle sees it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, null, select, update

from relay.core.hints import ask_again_at
from relay.core.poll_policy import CLOSEST_POLLS
from relay.core.records import Micros
from relay.core.states import JobStatus
from relay.store.budget import SOURCE
from relay.store.engine import Tx
from relay.store.statements import among, lock, update_rows
from relay.store.tables import Job


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
        .values(due_at=bindparam("next"), hinted_at=now, hint_polls=0)
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

    Takes the hint from those that have ended, that nobody waits for, or that were asked often enough.
    """
    times = dict(due)
    used_up = []
    for key, row in live.items():
        if row.hinted_at is None:
            continue
        regular = due[key]
        again = ask_again_at(now, row.hint_polls, row.polled_at + CLOSEST_POLLS)
        if again is None or regular is None or key in ended:
            used_up.append(key)
        else:
            times[key] = min(again, regular)
    if used_up:
        tx.execute(update(Job).where(among(tx, Job.id, used_up)).values(hinted_at=null(), hint_polls=null()))
    return times


def was_not_asked(tx: Tx, live: Mapping[int, Any]) -> None:
    """The polls of these jobs told nothing: they do not count against their hints."""
    hinted = [key for key, row in live.items() if row.hinted_at is not None]
    if hinted:
        tx.execute(update(Job).where(among(tx, Job.id, hinted)).values(hint_polls=0))
