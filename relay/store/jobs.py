"""Jobs in SQL: finding or making them, the claim of a poll and its settle."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, null, or_, select, update

from relay.core.records import JobReport, Micros
from relay.core.schedule import CLOSEST_POLLS, SUSPECT_AFTER
from relay.core.states import JobStatus
from relay.store import budget
from relay.store.budget import SOURCE
from relay.store.engine import Tx, among, insert_if_absent, lock, longest_text, update_rows
from relay.store.tables import Job, Upstream, Watch

IDS_PER_CALL = 10  # the provider's limit


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job leased to one poll; `lost_count` counts the polls of it in a row whose process died."""

    key: int
    job_id: str
    number: int
    lost_count: int


@dataclass(frozen=True, slots=True)
class PollClaim:
    """The jobs of one call; none: nothing is due, or the budget has no call before `not_before`."""

    token: str
    jobs: tuple[ClaimedJob, ...]
    not_before: Micros | None = None


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


def wake(tx: Tx, keys: Sequence[int], now: Micros) -> None:
    """Somebody waits for these jobs: those that were not polled are due now."""
    if keys:
        tx.execute(
            update(Job)
            .where(among(tx, Job.id, sorted(keys)), Job.status == JobStatus.OPEN, Job.due_at.is_(None))
            .values(due_at=now)
        )


def rest(tx: Tx, keys: Iterable[int]) -> None:
    """Stop polling those of these jobs that nobody waits for; a claimed one is left to its settle."""
    wanted = sorted(set(keys))
    if wanted:
        waiting = select(Watch.id).where(Watch.job == Job.id, Watch.due_at.is_not(None)).exists()
        tx.execute(
            update(Job)
            .where(among(tx, Job.id, wanted), Job.token.is_(None), ~waiting)
            .values(due_at=null(), hinted_at=null(), hint_polls=null())
        )


def next_due(tx: Tx) -> Micros | None:
    """When the next poll may be made: a job is due and the budget has a call; None while nobody waits."""
    due_at = tx.scalar(select(Job.due_at).where(Job.due_at.is_not(None)).order_by(Job.due_at).limit(1))
    if due_at is None:
        return None
    next_call_at = tx.scalar(select(Upstream.next_call_at).where(Upstream.source == SOURCE))
    return max(due_at, next_call_at or 0)


def claim(tx: Tx, *, now: Micros, lease: Micros, token: str, call_interval: Micros) -> PollClaim:
    """Lease up to ten jobs and take the budget's call: due ones first, then those due next.

    A call costs the same for one id as for ten, so none leaves with fewer while more jobs wait.
    """
    next_call_at = budget.lock_budget(tx)
    if next_call_at > now:
        return PollClaim(token, (), next_call_at)
    due = _due(tx, now)
    if not due:
        return PollClaim(token, ())
    if len(due) < IDS_PER_CALL and not _is_suspect(due[0]):
        due += _due_next(tx, now, IDS_PER_CALL - len(due))
    until = now + lease
    _lease(tx, [row.id for row in due], until, token, now)
    budget.spend_call(tx, now, call_interval)
    return PollClaim(token, tuple(_claimed(row) for row in due))


_COLUMNS = (Job.id, Job.job_id, Job.token, Job.attempt_count, Job.lost_count)


def _due(tx: Tx, now: Micros) -> list[Any]:
    """Due jobs, hinted ones first, then the oldest; one that two processes in a row died with goes alone."""
    hinted = select(*_COLUMNS).where(Job.hinted_at.is_not(None), Job.due_at <= now).order_by(Job.hinted_at)
    rows: list[Any] = list(tx.execute(lock(hinted.limit(IDS_PER_CALL), skip=True)))
    others = select(*_COLUMNS).where(Job.hinted_at.is_(None), Job.due_at <= now).order_by(Job.due_at)
    rows += tx.execute(lock(others.limit(IDS_PER_CALL - len(rows)), skip=True))
    suspects = [row for row in rows if _is_suspect(row)]
    return suspects[:1] if suspects else rows


def _due_next(tx: Tx, now: Micros, count: int) -> list[Any]:
    """Jobs that are not due yet but may be asked again, those due next first."""
    return list(
        tx.execute(
            lock(
                select(*_COLUMNS)
                .where(
                    Job.due_at > now,
                    Job.token.is_(None),
                    Job.lost_count < SUSPECT_AFTER,
                    or_(Job.polled_at.is_(None), Job.polled_at <= now - CLOSEST_POLLS),
                )
                .order_by(Job.due_at)
                .limit(count),
                skip=True,
            )
        )
    )


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
    )


def lock_claimed(tx: Tx, claimed: PollClaim) -> dict[int, Any]:
    """Lock the claim's jobs and return those whose token still stands: key → missing_count, first deadline.

    `deadline` is None for a job that nobody waits for any more.
    """
    first = (
        select(Watch.due_at)
        .where(Watch.job == Job.id, Watch.due_at.is_not(None))
        .order_by(Watch.due_at)
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    numbers = {job.key: job.number for job in claimed.jobs}
    rows = tx.execute(
        lock(
            select(
                Job.id,
                Job.job_id,
                Job.token,
                Job.attempt_count,
                Job.missing_count,
                Job.polled_at,
                Job.hinted_at,
                Job.hint_polls,
                first.label("deadline"),
            )
            .where(among(tx, Job.id, sorted(numbers)))
            .order_by(Job.id)
        )
    )
    return {
        row.id: row for row in rows if row.token == claimed.token and row.attempt_count == numbers[row.id]
    }


def finish(tx: Tx, reports: dict[int, JobReport], now: Micros) -> None:
    """Store the results of jobs that have ended."""
    _save(tx, reports, dict.fromkeys(reports), now)


def put_off(tx: Tx, reports: dict[int, JobReport], due: dict[int, Micros | None]) -> None:
    """Store what was said of jobs that are still open, and when each is due again (None: nobody waits)."""
    _save(tx, reports, due, None)


def put_off_silent(tx: Tx, due: dict[int, Micros | None], missing: Iterable[int] = ()) -> None:
    """Of these jobs nothing was learned but that some are `missing`; when each is due again."""
    unknown = set(missing)
    statement = (
        update(Job)
        .where(Job.id == bindparam("row"))
        .values(
            due_at=bindparam("next"),
            token=null(),
            lost_count=0,
            missing_count=Job.missing_count + bindparam("more"),
        )
    )
    rows = [{"row": key, "next": due[key], "more": int(key in unknown)} for key in sorted(due)]
    update_rows(tx, statement, rows)


def _save(
    tx: Tx, reports: dict[int, JobReport], due: dict[int, Micros | None], finished_at: Micros | None
) -> None:
    statement = (
        update(Job)
        .where(Job.id == bindparam("row"))
        .values({column: bindparam(f"new_{column}") for column in _row_of(JobReport("", JobStatus.OPEN), 0)})
        .values(due_at=bindparam("next"), token=null(), lost_count=0, finished_at=bindparam("ended"))
    )
    limit = longest_text(tx)
    rows = [
        {f"new_{column}": value for column, value in _row_of(reports[key], limit).items()}
        | {"row": key, "next": due[key], "ended": finished_at}
        for key in sorted(reports)
    ]
    update_rows(tx, statement, rows)


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
