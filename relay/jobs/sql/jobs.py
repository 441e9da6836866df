"""Jobs in SQL: finding or making them, who waits for them, and what an answer says of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, func, null, select, update

from relay.common.states import JobStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, insert_if_absent, lock, longest_text, update_rows
from relay.db.tables import Job, Watch
from relay.provider.source import SOURCE, JobReport


def find_or_make(tx: Tx, job_ids: Iterable[str], now: Micros) -> dict[str, Any]:
    """JobId → its row, locked (the first place in the order of locks); unknown ones are made, not yet due."""
    wanted = sorted(set(job_ids))
    here = (Job.source == SOURCE) & among(tx, Job.job_id, wanted)
    columns = (Job.id, Job.job_id, Job.status, Job.due_at, Job.missing_count, Job.data_bytes)
    known = set(tx.scalars(select(Job.job_id).where(here)))
    while True:
        insert_if_absent(tx, Job, [_new_row(job_id, now) for job_id in wanted if job_id not in known])
        rows = tx.execute(lock(select(*columns).where(here).order_by(Job.id)))
        found = {row.job_id: row for row in rows}
        if len(found) == len(wanted):
            return found
        known = set(found)  # one that was there at the first look was pruned before it could be locked


def _new_row(job_id: str, now: Micros) -> dict[str, Any]:
    """A job that nobody has asked about yet."""
    return {"source": SOURCE, "job_id": job_id, "status": JobStatus.OPEN, "created_at": now} | dict.fromkeys(
        ("data_bytes", "data_is_json", "attempt_count", "lost_count", "missing_count"), 0
    )


def lock_in_order(tx: Tx, keys: Iterable[int]) -> None:
    """Lock jobs, each by id: whoever changes their watches holds this first."""
    wanted = sorted(set(keys))
    if wanted:
        tx.execute(lock(select(Job.id).where(among(tx, Job.id, wanted)).order_by(Job.id))).all()


def activate(tx: Tx, keys: Sequence[int], subscriber_id: str, now: Micros) -> None:
    """The subscriber waits for these jobs: those that nobody waited for are its own, and due now."""
    if keys:
        tx.execute(
            update(Job)
            .where(among(tx, Job.id, sorted(keys)), Job.status == JobStatus.OPEN, Job.owner.is_(None))
            .values(owner=subscriber_id, due_at=func.coalesce(Job.due_at, now))
        )


def suspend(tx: Tx, keys: Iterable[int]) -> None:
    """Watches on these jobs have ended: whom the rest are charged to, and those nobody waits for rest.

    A claimed job that nobody waits for is left to its settle.
    """
    wanted = sorted(set(keys))
    if not wanted:
        return
    earliest = (
        select(Watch.subscriber_id)
        .where(Watch.job == Job.id, Watch.due_at.is_not(None))
        .order_by(Watch.created_at, Watch.id)
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    tx.execute(update(Job).where(among(tx, Job.id, wanted), Job.owner.is_not(None)).values(owner=earliest))
    tx.execute(
        update(Job)
        .where(among(tx, Job.id, wanted), Job.token.is_(None), Job.owner.is_(None))
        .values(due_at=null(), provider_event_at=null(), provider_event_polls=null())
    )


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
_RELEASED = (
    update(Job)
    .where(Job.id == bindparam("row"))
    .values(
        # Polls of a job that rests are charged to nobody.
        owner=case((bindparam("next", type_=BigInteger).is_(None), None), else_=Job.owner),
        due_at=bindparam("next"),
        token=null(),
        lost_count=0,
    )
)
_SILENT = _RELEASED.values(missing_count=Job.missing_count + bindparam("more"))


def lock_claimed(tx: Tx, token: str, numbers: Mapping[int, int]) -> dict[int, Any]:
    """Lock claimed jobs, numbers of their polls by key, and return the rows whose claim still stands.

    `deadline` is the first of the watches that wait, None for a job that nobody waits for any more.
    It is read by a statement of its own, after the locks: one that waits for a lock sees other rows
    as they were before, and would miss the watch that was added meanwhile.
    """
    keys = {"keys": sorted(numbers)}
    tx.execute(_LOCK, keys).all()
    rows = tx.execute(_CLAIMED, keys)
    return {row.id: row for row in rows if row.token == token and row.attempt_count == numbers[row.id]}


def finish(tx: Tx, reports: dict[int, JobReport], now: Micros) -> None:
    """Store the results of jobs that have ended."""
    _save(tx, reports, dict.fromkeys(reports), now)


def reschedule(tx: Tx, reports: dict[int, JobReport], due: dict[int, Micros | None]) -> None:
    """Store what was said of jobs that are still open, and when each is due again (None: nobody waits)."""
    _save(tx, reports, due, None)


def reschedule_silent(tx: Tx, due: dict[int, Micros | None], missing: Iterable[int] = ()) -> None:
    """Of these jobs nothing was learned but that some are `missing`; when each is due again."""
    unknown = set(missing)
    rows = [{"row": key, "next": due[key], "more": int(key in unknown)} for key in sorted(due)]
    update_rows(tx, _SILENT, rows)


def _save(
    tx: Tx, reports: dict[int, JobReport], due: dict[int, Micros | None], finished_at: Micros | None
) -> None:
    if reports:
        limit = longest_text(tx)
        rows = [
            {f"new_{column}": value for column, value in _row_of(reports[key], limit).items()}
            | {"row": key, "next": due[key], "ended": finished_at}
            for key in sorted(reports)
        ]
        update_rows(tx, _SAVED, rows)


def _row_of(report: JobReport, limit: int) -> dict[str, Any]:
    """A report's columns; `Data` beyond what the database takes is left out, and its length kept."""
    size = 0 if report.data is None else len(report.data.encode())
    return {
        "status": report.status,
        "type": report.type,
        "code": report.code,
        "message": report.message,
        "media_id": report.media_id,
        "creation_time": report.creation_time,
        "complete_time": report.complete_time,
        "data": report.data if size <= limit else None,
        "data_bytes": size,
        "data_is_json": int(report.data_is_json),
    }


_SAVED = _RELEASED.values(finished_at=bindparam("ended")).values(
    {column: bindparam(f"new_{column}") for column in _row_of(JobReport("", JobStatus.OPEN), 0)}
)
