"""Records the result of a poll: what an answer says of the claimed jobs, or that there was none.

Guarded by the claim's token: a job whose lease ran out meanwhile is left to the process that has
claimed it since. Locks are taken on jobs, then endpoints, then deliveries.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.common.ids import NewId
from relay.common.states import JobStatus, WatchStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.jobs.sql import jobs, moves
from relay.polling.rules.durations import age_of, duration_of, type_key
from relay.polling.rules.poll_policy import CLOSEST_POLLS, Plan, next_poll
from relay.polling.sql import provider_events, rate_limiter
from relay.polling.sql.poll_claims import PollClaim
from relay.provider.source import Answer, JobReport, JobSource
from relay.watches.sql import watches
from relay.watches.sql.watches import Ending

MISSING_POLLS = 3  # answers that a job does not exist, before its watch ends as missing


@dataclass(frozen=True, slots=True)
class Tally:
    """The result of one call; `durations` are (type, seconds) of ended jobs, `lost` are JobIds."""

    ended: int = 0
    missing: int = 0
    lost: list[str] = field(default_factory=list)
    durations: list[tuple[str, float]] = field(default_factory=list)


def record(
    tx: Tx, claim: PollClaim, answer: Answer, now: Micros, *, plan: Plan, new_id: NewId, missing_grace: Micros
) -> Tally:
    """Store an answer about the jobs that are still claimed, and enqueue their watches' webhooks.

    A job named in neither list of the answer was not answered for: it is asked about again. `plan`
    says when a job that is still open is asked about again. A watch on a job that the source does
    not know waits for `missing_grace`.
    """
    live = _lock(tx, claim)
    names = {key: row.job_id for key, row in live.items()}
    reports = {key: answer.reports[name] for key, name in names.items() if name in answer.reports}
    ended = {key: report for key, report in reports.items() if report.status is not JobStatus.OPEN}
    missing = {key for key, name in names.items() if name in answer.missing}
    due = {key: _next_poll(row, reports.get(key), plan, now) for key, row in live.items()}
    due = provider_events.follow_up(tx, live, due, ended, now)
    moves.finish(tx, ended, now)
    moves.reschedule(tx, {key: reports[key] for key in reports if key not in ended}, due)
    moves.reschedule_silent(tx, {key: due[key] for key in live if key not in reports}, missing)
    _end_watches(tx, claim.source, ended, missing, now, new_id, missing_grace)
    if claim.is_news:
        rate_limiter.answered(tx, claim.source.name, now)
    return Tally(len(ended), len(missing), _lost(claim, live), _durations(claim, live, ended, now))


def give_back(tx: Tx, claim: PollClaim, now: Micros) -> list[str]:
    """As no answer came, make the jobs due as soon as they may be; returns the lost JobIds."""
    live = _lock(tx, claim)
    moves.expect_still(tx, [key for key, row in live.items() if row.provider_event_at is not None])
    due = {key: None if row.deadline is None else now + CLOSEST_POLLS for key, row in live.items()}
    moves.reschedule_silent(tx, due)
    return _lost(claim, live)


def _lock(tx: Tx, claim: PollClaim) -> dict[int, Any]:
    return jobs.lock_claimed(tx, claim.token, {job.key: job.number for job in claim.jobs})


def _lost(claim: PollClaim, live: Mapping[int, Any]) -> list[str]:
    return [job.job_id for job in claim.jobs if job.key not in live]


def _next_poll(row: Any, report: JobReport | None, plan: Plan, now: Micros) -> Micros | None:
    if row.deadline is None:
        return None
    creation_time = (report and report.creation_time) or row.creation_time
    job_type = (report and report.type) or row.type
    age = age_of(creation_time, row.created_at, now)
    return next_poll(now, row.deadline, plan.interval(row.owner or "", type_key(job_type), age))


def _end_watches(
    tx: Tx,
    source: JobSource,
    ended: Mapping[int, JobReport],
    missing: set[int],
    now: Micros,
    new_id: NewId,
    grace: Micros,
) -> None:
    """End the watches on ended jobs, and those that waited long enough for unknown jobs."""
    endings = []
    for status in (WatchStatus.SUCCESS, WatchStatus.FAIL):
        keys = [key for key, report in ended.items() if WatchStatus(report.status) is status]
        endings.append(Ending(watches.waiting_for(tx, keys), status, source.event_of(status)))
    if missing:
        unknown = watches.waited_in_vain(
            tx, sorted(missing), registered_before=now - grace, polls=MISSING_POLLS
        )
        status = WatchStatus.MISSING
        endings.append(Ending(unknown, status, source.event_of(status)))
    sizes = {key: len((report.data or "").encode()) for key, report in ended.items()}
    watches.end(tx, endings, now, new_id, data_bytes=sizes)
    moves.suspend(tx, missing)


def _durations(
    claim: PollClaim, live: Mapping[int, Any], ended: Mapping[int, JobReport], now: Micros
) -> list[tuple[str, float]]:
    """How long the jobs took that have ended; an end that the source did not report has no type."""
    polled_before = {job.key: job.polled_at for job in claim.jobs}
    took = {
        key: duration_of(
            report.creation_time,
            report.complete_time,
            registered_at=live[key].created_at,
            last_open_at=polled_before[key],
            now=now,
        )
        for key, report in ended.items()
        if report.type
    }
    return [(type_key(ended[key].type), seconds) for key, seconds in took.items() if seconds is not None]
