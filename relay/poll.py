"""The poll: claim due jobs and a call of the budget, ask ListAIJob, settle what it said.

One turn claims; asking and settling go on beside it, so that a slow answer does not waste the budget. The
settle is guarded by the claim's token. No transaction is open while the provider is asked.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import assert_never

from relay import telemetry
from relay.core.ids import Mint
from relay.core.records import SECOND, JobReport, Micros
from relay.core.schedule import CLOSEST_POLLS, GIVE_UP_AFTER, next_poll, upstream_backoff
from relay.core.states import JobStatus, WatchStatus
from relay.core.verdict import Answer, RefusalKind, Refused
from relay.net.listaijob import Answered, Outcome, Unreachable, Unreadable
from relay.store import budget, hints, jobs, watches
from relay.store.clock import Clock
from relay.store.engine import Store, Tx
from relay.store.jobs import ClaimedJob, PollClaim

IDLE = 0.25  # seconds between two looks for work: a new watch waits no longer for its first poll
CALLS_AT_ONCE = 8  # so that 10 calls a second can be kept up while each takes most of a second
PROBE_AFTER = 60 * SECOND  # between two calls while the provider refuses all of them
CREDENTIALS_GRACE = 5 * SECOND  # without credentials before it is said: at the start they take a moment
MISSING_POLLS = 3  # answers that a job does not exist, before its watch ends as missing

Ask = Callable[[Sequence[str]], Outcome]
WhyNot = Callable[[], str | None]
"""Says why the provider can't be asked now: a sentence where there are no valid credentials, else None."""


@dataclass(frozen=True, slots=True)
class PollRules:
    """What the settings say of polling; times in microseconds, the token's maker and dice from outside."""

    lease: Micros
    call_interval: Micros
    missing_grace: Micros
    mint: Mint
    new_token: Callable[[], str]
    dice: Callable[[], float]


@dataclass(slots=True)
class Tally:
    """What one call brought, for the log."""

    ended: int = 0
    missing: int = 0
    lost: list[str] = field(default_factory=list)


class Poller:
    """Claims on the caller's thread, asks and settles on its own few."""

    def __init__(
        self, store: Store, clock: Clock, ask: Ask, rules: PollRules, why_not: WhyNot = lambda: None
    ) -> None:
        self._store = store
        self._clock = clock
        self._ask = ask
        self._rules = rules
        self._calls = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="ask")
        self._free = threading.Semaphore(CALLS_AT_ONCE)
        self._up = True
        self._why_not = why_not
        self._unready_since: Micros | None = None

    def turn(self) -> float:
        """Claim one call's jobs if any are due; returns the seconds until the next look."""
        wait = self._until_ready() or self._until_due()
        if wait > 0:
            return wait
        if not self._free.acquire(timeout=IDLE):
            return 0.0
        try:
            claim = self._claim()
        except BaseException:
            self._free.release()
            raise
        if not claim.jobs:
            self._free.release()
            return self._seconds_until(claim.not_before)
        self._calls.submit(self._call, claim)
        return 0.0

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
            self._store.write(say_down, now, code="NoCredentials", detail=reason)
            self._up = False
            telemetry.upstream_down("NoCredentials", reason)
        return IDLE

    def _until_due(self) -> float:
        """A look without locks: most turns of an idle relay end here."""
        due_at = self._store.read(jobs.next_due)
        return IDLE if due_at is None else self._seconds_until(due_at)

    def _seconds_until(self, at: Micros | None) -> float:
        return IDLE if at is None else min(max((at - self._clock.now()) / SECOND, 0.0), IDLE)

    def _claim(self) -> PollClaim:
        return self._store.write(
            jobs.claim,
            now=self._clock.now(),
            lease=self._rules.lease,
            token=self._rules.new_token(),
            call_interval=self._rules.call_interval,
        )

    def _call(self, claim: PollClaim) -> None:
        """Ask about the claimed jobs and settle; a surprise leaves them to the end of their lease."""
        try:
            self._ask_and_settle(claim)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: say it and go on
            telemetry.pass_failed("poll", error, self._rules.lease / SECOND)
        finally:
            self._free.release()

    def _ask_and_settle(self, claim: PollClaim) -> None:
        given_up = {job.job_id: _given_up(job) for job in claim.jobs if job.lost_count >= GIVE_UP_AFTER}
        if given_up:  # such a job was claimed alone
            answer = Answer(given_up, frozenset(), None)
            self._store.write(settle, claim, answer, self._clock.now(), self._rules)
            telemetry.poll_given_up(list(given_up))
            return
        started = time.monotonic()
        outcome = self._outcome([job.job_id for job in claim.jobs])
        duration = round((time.monotonic() - started) * SECOND)
        match outcome:
            case Answered(answer=answer):
                tally = self._store.write(settle, claim, answer, self._clock.now(), self._rules)
                self._recovered()
                answered = len(answer.reports) + len(answer.missing)
            case _:
                tally, answered = self._failed(claim, outcome), 0
        telemetry.poll_ended(
            asked=len(claim.jobs),
            answered=answered,
            ended=tally.ended,
            missing=tally.missing,
            outcome=_word(outcome),
            duration=duration,
        )
        for job_id in tally.lost:
            telemetry.job_lost(job_id)

    def _outcome(self, job_ids: Sequence[str]) -> Outcome:
        """Ask; where one id poisons the batch, split it until that one is found."""
        outcome = self._ask(job_ids)
        if not (isinstance(outcome, Refused) and outcome.kind is RefusalKind.BAD_IDS):
            return outcome
        if len(job_ids) == 1:
            return Answered(Answer({job_ids[0]: _refused(job_ids[0], outcome)}, frozenset(), None), 0)
        middle = len(job_ids) // 2
        reports: dict[str, JobReport] = {}
        missing: frozenset[str] = frozenset()
        for half in (job_ids[:middle], job_ids[middle:]):
            self._wait_for_a_call()
            part = self._outcome(half)
            if not isinstance(part, Answered):
                return part
            reports |= part.answer.reports
            missing |= part.answer.missing
        if len(reports) == len(job_ids) and all(report.code == outcome.code for report in reports.values()):
            return outcome  # every single id refused alike: it is the call that is wrong, not the ids
        return Answered(Answer(reports, missing, None), 0)

    def _wait_for_a_call(self) -> None:
        """Take another call of the budget, for a part of a batch."""
        interval = self._rules.call_interval
        while (free_at := self._store.write(budget.take_call, self._clock.now(), interval)) is not None:
            time.sleep(max((free_at - self._clock.now()) / SECOND, 0.001))

    def _failed(self, claim: PollClaim, outcome: Refused | Unreachable | Unreadable) -> Tally:
        """Give the jobs back, with their place, and hold the fleet's calls for a while."""
        now = self._clock.now()
        code, detail = _code_and_detail(outcome)
        hold = self._hold(outcome)
        tally = self._store.write(give_back, claim, now, code=code, detail=detail, hold=hold)
        if self._up and _is_down(outcome):
            self._up = False
            telemetry.upstream_down(code, detail)
        return tally

    def _hold(self, outcome: Refused | Unreachable | Unreadable) -> Callable[[int], Micros]:
        """How long calls are held, from the failures in a row."""
        dice = self._rules.dice()
        if isinstance(outcome, Refused) and outcome.kind in {RefusalKind.DENIED, RefusalKind.BAD_IDS}:
            return lambda _streak: PROBE_AFTER
        asked = (outcome.retry_after or 0) if isinstance(outcome, Refused) else 0
        return lambda streak: max(upstream_backoff(streak, dice), asked)

    def _recovered(self) -> None:
        if not self._up:
            self._up = True
            telemetry.upstream_recovered()


def settle(tx: Tx, claim: PollClaim, answer: Answer, now: Micros, rules: PollRules) -> Tally:
    """Store what an answer says of the jobs that are still ours, and owe the waiting watches their webhooks.

    A job named in neither list of the answer was not answered for: it is asked again.
    """
    live = jobs.lock_claimed(tx, claim)
    names = {key: row.job_id for key, row in live.items()}
    said = {key: answer.reports[name] for key, name in names.items() if name in answer.reports}
    ended = {key: report for key, report in said.items() if report.status is not JobStatus.OPEN}
    missing = {key for key, name in names.items() if name in answer.missing}
    due = {key: None if row.deadline is None else next_poll(now, row.deadline) for key, row in live.items()}
    due = hints.follow_up(tx, live, due, ended, now)
    jobs.finish(tx, ended, now)
    jobs.put_off(tx, {key: said[key] for key in said if key not in ended}, due)
    jobs.put_off_silent(tx, {key: due[key] for key in live if key not in said}, missing)
    _end_watches(tx, ended, now, rules.mint)
    if missing:
        unknown = watches.waited_in_vain(
            tx, sorted(missing), registered_before=now - rules.missing_grace, polls=MISSING_POLLS
        )
        watches.end(tx, unknown, WatchStatus.MISSING, now, rules.mint)
        jobs.rest(tx, missing)
    budget.answered(tx, now)
    lost = [job.job_id for job in claim.jobs if job.key not in live]
    return Tally(ended=len(ended), missing=len(missing), lost=lost)


def _end_watches(tx: Tx, ended: dict[int, JobReport], now: Micros, mint: Mint) -> None:
    sizes = {key: len((report.data or "").encode()) for key, report in ended.items()}
    for status in (JobStatus.SUCCESS, JobStatus.FAIL):
        keys = [key for key, report in ended.items() if report.status is status]
        rows = watches.waiting_for(tx, keys)
        watches.end(tx, rows, WatchStatus(status), now, mint, data_bytes=sizes)


def give_back(
    tx: Tx, claim: PollClaim, now: Micros, *, code: str, detail: str, hold: Callable[[int], Micros]
) -> Tally:
    """Nothing was learned: the jobs are due again at once, the fleet's calls wait.

    The budget's row is locked before the jobs, as the claim does.
    """
    budget.failed(tx, now, code=code, detail=detail, hold=hold)
    live = jobs.lock_claimed(tx, claim)
    hints.was_not_asked(tx, live)
    due = {key: None if row.deadline is None else now + CLOSEST_POLLS for key, row in live.items()}
    jobs.put_off_silent(tx, due)
    return Tally(lost=[job.job_id for job in claim.jobs if job.key not in live])


def say_down(tx: Tx, now: Micros, *, code: str, detail: str) -> None:
    """The provider can't be asked from here; that holds back no other poller."""
    budget.lock_budget(tx)
    budget.failed(tx, now, code=code, detail=detail, hold=lambda _streak: 0)


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
