"""How a job's row changes state: the columns of each state are set here and nowhere else.

state      status         due_at            token   owner   provider_event_*   finished_at
idle       open           NULL              NULL    NULL    NULL               NULL
due        open           next poll         NULL    set     set after one      NULL
claimed    open           end of the lease  set     set *   set after one      NULL
ended      success, fail  NULL              NULL    NULL    NULL               set

* NULL once nobody waits any more; the result of the poll then makes it idle, or ends it.

idle ──activate──▶ due ──lease──▶ claimed ──finish──▶ ended
  ▲◀──suspend──────┘ ▲◀──reschedule──┘
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, func, select, update

from relay.common.states import JobStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, longest_text, update_rows
from relay.db.tables import Job, Watch
from relay.provider.source import JobReport

_NO_EVENT = {"provider_event_at": None, "provider_event_polls": None}
_IDLE = {"owner": None, "due_at": None, **_NO_EVENT}


def idle_row(source: str, job_id: str, now: Micros) -> dict[str, Any]:
    """A new job that nobody has asked about yet."""
    return {"source": source, "job_id": job_id, "status": JobStatus.OPEN, "created_at": now} | dict.fromkeys(
        ("data_bytes", "data_is_json", "attempt_count", "lost_count", "missing_count"), 0
    )


def activate(tx: Tx, keys: Sequence[int], subscriber_id: str, now: Micros) -> None:
    """Make the idle ones of these jobs due now, charged to the subscriber, who waits for them."""
    if keys:
        tx.execute(
            update(Job)
            .where(among(tx, Job.id, sorted(keys)), Job.status == JobStatus.OPEN, Job.owner.is_(None))
            .values(owner=subscriber_id, due_at=func.coalesce(Job.due_at, now))
        )


def suspend(tx: Tx, keys: Iterable[int]) -> None:
    """Charge each job to its earliest waiting watch, or make it idle, as watches on it have ended.

    A claimed job that nobody waits for is left to the result of its poll.
    """
    ordered = sorted(set(keys))
    if not ordered:
        return
    earliest = (
        select(Watch.subscriber_id)
        .where(Watch.job == Job.id, Watch.due_at.is_not(None))
        .order_by(Watch.created_at, Watch.id)
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    tx.execute(update(Job).where(among(tx, Job.id, ordered), Job.owner.is_not(None)).values(owner=earliest))
    unclaimed = among(tx, Job.id, ordered) & Job.token.is_(None) & Job.owner.is_(None)
    tx.execute(update(Job).where(unclaimed).values(_IDLE))


# Statements that every poll runs are made once: building them would cost as much as running them.
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
_RELEASE = (
    update(Job)
    .where(Job.id == bindparam("row"))
    .values(
        # Without a next poll it is charged to nobody.
        owner=case((bindparam("next", type_=BigInteger).is_(None), None), else_=Job.owner),
        due_at=bindparam("next"),
        token=None,
        lost_count=0,
    )
)
_RELEASE_SILENT = _RELEASE.values(missing_count=Job.missing_count + bindparam("more"))


def lease(tx: Tx, keys: Sequence[int], token: str, now: Micros, until: Micros) -> None:
    """Claim locked jobs for one poll."""
    tx.execute(_LEASE, {"keys": keys, "until": until, "claim": token, "now": now})


def finish(tx: Tx, reports: Mapping[int, JobReport], now: Micros) -> None:
    """End jobs, and store their results."""
    _release(tx, reports, dict.fromkeys(reports), now)


def reschedule(tx: Tx, reports: Mapping[int, JobReport], due: Mapping[int, Micros | None]) -> None:
    """Store reports of open jobs, and when each is due again (None: nobody waits for it)."""
    _release(tx, reports, due, None)


def reschedule_silent(tx: Tx, due: Mapping[int, Micros | None], missing: Iterable[int] = ()) -> None:
    """Store when jobs without a report are due again, and count the answer for the `missing`."""
    unknown = set(missing)
    rows = [{"row": key, "next": due[key], "more": int(key in unknown)} for key in sorted(due)]
    update_rows(tx, _RELEASE_SILENT, rows)


def _release(
    tx: Tx, reports: Mapping[int, JobReport], due: Mapping[int, Micros | None], finished_at: Micros | None
) -> None:
    if reports:
        limit = longest_text(tx)
        rows = [
            {f"new_{column}": value for column, value in _facts(reports[key], limit).items()}
            | {"row": key, "next": due[key], "ended": finished_at}
            for key in sorted(reports)
        ]
        update_rows(tx, _RELEASE_WITH_REPORT, rows)


def _facts(report: JobReport, limit: int) -> dict[str, Any]:
    """A report's columns, without `data` that the database can't take, but with its length."""
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


_RELEASE_WITH_REPORT = _RELEASE.values(finished_at=bindparam("ended")).values(
    {column: bindparam(f"new_{column}") for column in _facts(JobReport("", JobStatus.OPEN), 0)}
)

_EXPECT = (
    update(Job)
    .where(Job.id == bindparam("row"))
    .values(due_at=bindparam("next"), provider_event_at=bindparam("event_at"), provider_event_polls=0)
)


def expect(tx: Tx, due: Mapping[int, Micros], now: Micros) -> None:
    """A provider event has just named these locked jobs: when each is due."""
    update_rows(tx, _EXPECT, [{"row": key, "next": due[key], "event_at": now} for key in sorted(due)])


def expect_no_more(tx: Tx, keys: Sequence[int]) -> None:
    """The provider events of these jobs are used up."""
    if keys:
        tx.execute(update(Job).where(among(tx, Job.id, keys)).values(_NO_EVENT))


def expect_still(tx: Tx, keys: Sequence[int]) -> None:
    """The polls since the provider events of these jobs brought no answer: they do not count."""
    if keys:
        tx.execute(update(Job).where(among(tx, Job.id, keys)).values(provider_event_polls=0))
