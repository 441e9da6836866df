"""The poll: claim due jobs and a call of the budget, ask ListAIJob, settle what it said.

One turn claims; asking and settling go on beside it, so that a slow answer does not waste the
budget. The settle is guarded by the claim's token. No transaction is open while the provider is
asked.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import assert_never

from relay import telemetry
from relay.common.ids import NewId
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.leases import GIVE_UP_AFTER
from relay.polling.rules.poll_policy import upstream_backoff
from relay.polling.sql import poll_claims, poll_results, rate_limiter
from relay.polling.sql.poll_claims import ClaimedJob, PollClaim
from relay.polling.sql.poll_policies import REFRESH, Policy
from relay.polling.sql.poll_results import Tally
from relay.provider.source import (
    Answer,
    Answered,
    JobReport,
    Outcome,
    RefusalKind,
    Refused,
    Unreachable,
    Unreadable,
)
from relay.telemetry.events import (
    IterationFailed,
    JobLost,
    PollEnded,
    PollGivenUp,
    UpstreamDown,
    UpstreamRecovered,
)

IDLE = 0.25  # seconds between two looks for work: a new watch waits no longer for its first poll
CALLS_AT_ONCE = 8  # so that 10 calls a second can be kept up while each takes most of a second
LATE = US_PER_SECOND // 10  # from a claim to its call: later, it would meet those that others make by then
PROBE_AFTER = 60 * US_PER_SECOND  # between two calls while the provider refuses all of them
CREDENTIALS_GRACE = (
    5 * US_PER_SECOND
)  # without credentials before it is said: at the start they take a moment

Ask = Callable[[Sequence[str]], Outcome]
WhyNot = Callable[[], str | None]
"""Says why the provider can't be asked now: a sentence where there are no valid credentials, else None."""


@dataclass(frozen=True, slots=True)
class PollerConfig:
    """What the settings say of polling; times in microseconds, the token's maker and dice from outside."""

    lease: Micros
    call_interval: Micros
    missing_grace: Micros
    new_id: NewId
    new_token: Callable[[], str]
    rng: Callable[[], float]


class Poller:
    """Claims on the caller's thread, asks and settles on its own few."""

    def __init__(
        self, store: Store, clock: Clock, ask: Ask, config: PollerConfig, why_not: WhyNot = lambda: None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ask = ask
        self._config = config
        self._policy = Policy(store, config.call_interval)
        self._calls = ThreadPoolExecutor(CALLS_AT_ONCE + 1, thread_name_prefix="ask")
        self._free = threading.Semaphore(CALLS_AT_ONCE)
        self._has_answered = False  # since this process started
        self._up = True
        self._busy = False  # the last claim found jobs: the next is worth its locks without a look before
        self._why_not = why_not
        self._unready_since: Micros | None = None

    def run_once(self) -> float:
        """Claim one call's jobs if any are due; returns the seconds until the next look."""
        wait = self._until_ready() or (0.0 if self._busy else self._until_due())
        if wait > 0:
            return wait
        if self._policy.is_due(self._clock.now()):
            self._calls.submit(self._keep_policy)
        if not self._free.acquire(timeout=IDLE):
            return 0.0
        try:
            claim = self._claim()
        except BaseException:
            self._free.release()
            raise
        self._busy = bool(claim.jobs)
        if not claim.jobs:
            self._free.release()
            return self._seconds_until(claim.not_before)
        self._calls.submit(self._call, claim)
        return self._seconds_until(claim.not_before)

    def drain(self) -> None:
        """Wait until the calls under way are settled."""
        self._calls.shutdown(wait=True)

    def _until_ready(self) -> float:
        """Without credentials nothing is claimed, so that no call of the fleet's budget is spent in vain."""
        reason = self._why_not()
        if reason is None:
            self._unready_since = None
            return 0.0
        now = self._clock.now()
        self._unready_since = self._unready_since or now
        if self._up and now - self._unready_since >= CREDENTIALS_GRACE:
            self._store.write(rate_limiter.not_asked, now, code="NoCredentials", detail=reason)
            self._up = False
            telemetry.emit(UpstreamDown("NoCredentials", reason))
        return IDLE

    def _until_due(self) -> float:
        """A look without locks: most turns of an idle relay end here."""
        due_at = self._store.read(poll_claims.next_due)
        return IDLE if due_at is None else self._seconds_until(due_at)

    def _seconds_until(self, at: Micros | None) -> float:
        return IDLE if at is None else min(max((at - self._clock.now()) / US_PER_SECOND, 0.0), IDLE)

    def _claim(self) -> PollClaim:
        return self._store.write(
            poll_claims.claim,
            now=self._clock.now(),
            lease=self._config.lease,
            token=self._config.new_token(),
            call_interval=self._config.call_interval,
        )

    def _call(self, claim: PollClaim) -> None:
        """Ask about the claimed jobs and settle; a surprise leaves them to the end of their lease."""
        try:
            self._ask_and_record(claim)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: say it and go on
            telemetry.emit(IterationFailed("poll", error, self._config.lease / US_PER_SECOND))
        finally:
            self._free.release()

    def _keep_policy(self) -> None:
        """Keep the poll policy up to date; without that, jobs are polled by the last one."""
        try:
            self._policy.keep_up(self._clock.now())
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: say it and go on
            telemetry.emit(IterationFailed("policy", error, REFRESH / US_PER_SECOND))

    def _ask_and_record(self, claim: PollClaim) -> None:
        given_up = {job.job_id: _given_up(job) for job in claim.jobs if job.lost_count >= GIVE_UP_AFTER}
        if given_up:  # such a job was claimed alone
            self._record(replace(claim, is_news=False), Answer(given_up, frozenset(), None))
            telemetry.emit(PollGivenUp(", ".join(given_up)))
            return
        if self._clock.now() - claim.taken_at > max(self._config.call_interval, LATE):
            self._wait_for_a_call()  # this one's moment has passed while the process or the database stood
        started = time.monotonic()
        outcome = self._outcome([job.job_id for job in claim.jobs])
        duration_ms = int((time.monotonic() - started) * 1000)
        match outcome:
            case Answered(answer=answer):
                tally = self._record(claim, answer)
                self._policy.learn(tally.durations)
                self._recovered()
                answered = len(answer.reports) + len(answer.missing)
            case _:
                tally, answered = Tally(lost=self._failed(claim, outcome)), 0
        telemetry.emit(
            PollEnded(
                asked=len(claim.jobs),
                answered=answered,
                ended=tally.ended,
                missing=tally.missing,
                outcome=_word(outcome),
                duration_ms=duration_ms,
            ),
            *(JobLost(job_id) for job_id in tally.lost),
        )

    def _record(self, claim: PollClaim, answer: Answer) -> Tally:
        return self._store.write(
            poll_results.record,
            claim,
            answer,
            self._clock.now(),
            plan=self._policy.plan,
            new_id=self._config.new_id,
            missing_grace=self._config.missing_grace,
        )

    def _outcome(self, job_ids: Sequence[str]) -> Outcome:
        """Ask; where ids poison the batch, split it until they are found.

        A provider that has answered nothing yet and refuses each of several ids alike refuses the
        call, not the ids: a wrong setting must end no job. Once it has answered, it is the ids.
        """
        outcome = self._ask(job_ids)
        if not (isinstance(outcome, Refused) and outcome.kind is RefusalKind.BAD_IDS):
            self._has_answered |= isinstance(outcome, Answered)
            return outcome
        parts = self._split(job_ids, outcome)
        if self._has_answered or len(job_ids) == 1 or not isinstance(parts, Answered):
            return parts
        codes = [report.code for report in parts.answer.reports.values()]
        return outcome if codes == [outcome.code] * len(job_ids) else parts

    def _split(self, job_ids: Sequence[str], refused: Refused) -> Outcome:
        """The answers for the good ids of a refused batch, and the refusal as the end of the bad ones."""
        if len(job_ids) == 1:
            return Answered(Answer({job_ids[0]: _refused(job_ids[0], refused)}, frozenset(), None), 0)
        middle = len(job_ids) // 2
        reports: dict[str, JobReport] = {}
        missing: frozenset[str] = frozenset()
        for half in (job_ids[:middle], job_ids[middle:]):
            self._wait_for_a_call()
            part = self._ask(half)
            if isinstance(part, Refused) and part.kind is RefusalKind.BAD_IDS:
                part = self._split(half, part)
            elif isinstance(part, Answered):
                self._has_answered = True
            if not isinstance(part, Answered):
                return part
            reports |= part.answer.reports
            missing |= part.answer.missing
        return Answered(Answer(reports, missing, None), 0)

    def _wait_for_a_call(self) -> None:
        """Take another call of the budget, for a part of a batch."""
        interval = self._config.call_interval
        while (free_at := self._store.write(rate_limiter.take_call, self._clock.now(), interval)) is not None:
            time.sleep(max((free_at - self._clock.now()) / US_PER_SECOND, 0.001))

    def _failed(self, claim: PollClaim, outcome: Refused | Unreachable | Unreadable) -> list[str]:
        """Give the jobs back and slow down or hold the fleet's calls; returns the JobIds lost meanwhile."""
        now = self._clock.now()
        lost = self._store.write(give_back, claim, now, self._slow_down(claim, outcome))
        if self._up and _is_down(outcome):
            self._up = False
            telemetry.emit(UpstreamDown(*_code_and_detail(outcome)))
        return lost

    def _slow_down(
        self, claim: PollClaim, outcome: Refused | Unreachable | Unreadable
    ) -> Callable[[Tx, Micros], None]:
        """What a call that brought no answer means for the next ones."""
        asked_at = claim.taken_at
        code, detail = _code_and_detail(outcome)
        wait = (outcome.retry_after or 0) if isinstance(outcome, Refused) else 0
        if isinstance(outcome, Refused) and outcome.kind is RefusalKind.THROTTLED:
            return lambda tx, now: rate_limiter.throttled(
                tx, now, asked_at=asked_at, code=code, detail=detail, wait=wait
            )
        rng = self._config.rng()

        def hold(streak: int) -> Micros:
            return PROBE_AFTER if _is_down(outcome) else max(upstream_backoff(streak, rng), wait)

        return lambda tx, now: rate_limiter.failed(
            tx, now, asked_at=asked_at, code=code, detail=detail, hold=hold
        )

    def _recovered(self) -> None:
        if not self._up:
            self._up = True
            telemetry.emit(UpstreamRecovered())


def give_back(tx: Tx, claim: PollClaim, now: Micros, slow_down: Callable[[Tx, Micros], None]) -> list[str]:
    """Nothing was learned: the jobs are due again soon, the fleet's calls slow down or wait.

    The budget's row is locked before the jobs, as the claim does.
    """
    slow_down(tx, now)
    return poll_results.give_back(tx, claim, now)


def _given_up(job: ClaimedJob) -> JobReport:
    """The end of a job with which one process after the other died."""
    return JobReport(
        job.job_id,
        JobStatus.FAIL,
        code="Relay.PollLost",
        message=f"given up: {job.lost_count} polls of this job in a row were lost with their process",
    )


def _refused(job_id: str, refusal: Refused) -> JobReport:
    """The end of a job whose id the provider refuses, with the provider's code."""
    return JobReport(job_id, JobStatus.FAIL, code=refusal.code, message=refusal.message)


def _is_down(outcome: Refused | Unreachable | Unreadable) -> bool:
    return isinstance(outcome, Refused) and outcome.kind in {RefusalKind.DENIED, RefusalKind.BAD_IDS}


def _code_and_detail(outcome: Refused | Unreachable | Unreadable) -> tuple[str, str]:
    match outcome:
        case Refused():
            return outcome.code or f"HTTP {outcome.http_status}", outcome.message or "no message"
        case Unreachable():
            return "Unreachable", outcome.reason
        case Unreadable():
            return "Unreadable", outcome.reason
        case _:
            assert_never(outcome)


def _word(outcome: Outcome) -> str:
    """The outcome as metrics and logs name it."""
    match outcome:
        case Answered():
            return "answered"
        case Refused():
            return outcome.kind.value
        case Unreachable():
            return "unreachable"
        case Unreadable():
            return "unreadable"
        case _:
            assert_never(outcome)
