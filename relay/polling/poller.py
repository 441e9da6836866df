"""The poller of one source: claims due jobs and a call, asks the source, records its answer.

`run_once` claims; asking and recording go on beside it, so that a slow answer does not waste the
rate limit. Recording is guarded by the claim's token. No transaction is open while the source is
asked.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from relay import telemetry
from relay.common.ids import NewId
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.leases import GIVE_UP_AFTER
from relay.polling.batch_splitter import BatchSplitter
from relay.polling.rules.outcomes import Failure, outcome_word, report_of_lost
from relay.polling.sql import poll_claims, poll_results
from relay.polling.sql.poll_claims import PollClaim
from relay.polling.sql.poll_policies import REFRESH, Policy
from relay.polling.sql.poll_results import Tally
from relay.polling.upstream_guard import SlowDown, UpstreamGuard
from relay.provider.source import Answer, Answered, JobSource, SourceClient
from relay.telemetry.events import IterationFailed, JobLost, PollEnded, PollGivenUp

IDLE = 0.25  # seconds between two searches for work: a new watch waits no longer for its first poll
CALLS_AT_ONCE = 8  # so that 10 calls a second can be kept up while each takes most of a second
LATE = US_PER_SECOND // 10  # from a claim to its call: later, it would meet those that others make by then


@dataclass(frozen=True, slots=True)
class PollerConfig:
    """What the settings say of polling; `jitter` makes random numbers in [0, 1)."""

    lease: Micros
    call_interval: Micros
    missing_grace: Micros
    new_id: NewId
    new_token: Callable[[], str]
    jitter: Callable[[], float]


class Poller:
    """Claims on the caller's thread; asks by `client` and records on threads of its own."""

    def __init__(
        self, store: Store, clock: Clock, source: JobSource, client: SourceClient, config: PollerConfig
    ) -> None:
        self._store = store
        self._clock = clock
        self._source = source
        self._client = client
        self._config = config
        self._policy = Policy(store, source, config.call_interval)
        self._guard = UpstreamGuard(store, clock, source.name, config.call_interval)
        self._batches = BatchSplitter(client.ask, self._guard.wait_for_call)
        self._calls = ThreadPoolExecutor(CALLS_AT_ONCE + 1, thread_name_prefix="ask")
        self._free = threading.Semaphore(CALLS_AT_ONCE)
        self._busy = False  # the last claim found jobs, so the next is tried without a search before

    def run_once(self) -> float:
        """Claim one call's jobs if any are due; returns the seconds until the next time."""
        if not self._guard.is_ready(self._client.why_not()):
            return IDLE  # nothing is claimed, so that no call of the fleet is spent in vain
        wait = 0.0 if self._busy else self._until_due()
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
        if claim.jobs:
            self._calls.submit(self._call, claim)
        else:
            self._free.release()
        return self._seconds_until(claim.not_before)

    def drain(self) -> None:
        """Wait until the answers of the calls under way are recorded, then give up the client."""
        self._calls.shutdown(wait=True)
        self._client.close()

    def _until_due(self) -> float:
        """A search without locks: most iterations of an idle relay end here."""
        due_at = self._store.read(poll_claims.next_due, self._source.name)
        return IDLE if due_at is None else self._seconds_until(due_at)

    def _seconds_until(self, time_us: Micros | None) -> float:
        if time_us is None:
            return IDLE
        return min(max((time_us - self._clock.now()) / US_PER_SECOND, 0.0), IDLE)

    def _claim(self) -> PollClaim:
        return self._store.write(
            poll_claims.claim,
            self._source,
            now=self._clock.now(),
            lease=self._config.lease,
            token=self._config.new_token(),
            call_interval=self._config.call_interval,
        )

    def _keep_policy(self) -> None:
        """Keep the poll policy up to date; without that, jobs are polled by the last one."""
        try:
            self._policy.keep_up(self._clock.now())
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: say it and go on
            telemetry.emit(IterationFailed("policy", error, REFRESH / US_PER_SECOND))

    def _call(self, claim: PollClaim) -> None:
        """Ask about the claimed jobs and record; after an unexpected error their lease runs out."""
        try:
            self._ask_and_record(claim)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: say it and go on
            telemetry.emit(IterationFailed("poll", error, self._config.lease / US_PER_SECOND))
        finally:
            self._free.release()

    def _ask_and_record(self, claim: PollClaim) -> None:
        lost = {
            job.job_id: report_of_lost(job.job_id, job.lost_count)
            for job in claim.jobs
            if job.lost_count >= GIVE_UP_AFTER
        }
        if lost:  # such a job was claimed alone
            self._record(replace(claim, is_news=False), Answer(lost, frozenset(), None))
            telemetry.emit(PollGivenUp(", ".join(lost)))
            return
        if self._clock.now() - claim.taken_at > max(self._config.call_interval, LATE):
            self._guard.wait_for_call()  # the process or the database stood: the claimed call is over
        started = time.monotonic()
        outcome = self._batches.ask([job.job_id for job in claim.jobs])
        duration_ms = int((time.monotonic() - started) * 1000)
        if isinstance(outcome, Answered):
            tally = self._answered(claim, outcome.answer)
            answered = len(outcome.answer.reports) + len(outcome.answer.missing)
        else:
            tally, answered = Tally(lost=self._failed(claim, outcome)), 0
        telemetry.emit(
            PollEnded(
                asked=len(claim.jobs),
                answered=answered,
                ended=tally.ended,
                missing=tally.missing,
                outcome=outcome_word(outcome),
                duration_ms=duration_ms,
            ),
            *(JobLost(job_id) for job_id in tally.lost),
        )

    def _answered(self, claim: PollClaim, answer: Answer) -> Tally:
        tally = self._record(claim, answer)
        self._policy.learn(tally.durations)
        self._guard.answered()
        return tally

    def _failed(self, claim: PollClaim, failure: Failure) -> list[str]:
        """Give the jobs back and slow the fleet's calls down; returns the JobIds lost meanwhile."""
        slow_down = self._guard.slow_down(claim.taken_at, failure, self._config.jitter())
        lost = self._store.write(give_back, claim, self._clock.now(), slow_down)
        self._guard.failed(failure)
        return lost

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


def give_back(tx: Tx, claim: PollClaim, now: Micros, slow_down: SlowDown) -> list[str]:
    """No answer came: the jobs are due again soon, the fleet's calls slow down or wait.

    The jobs are locked before the rate limiter's row, as they are where an answer is recorded.
    """
    lost = poll_results.give_back(tx, claim, now)
    slow_down(tx, now)
    return lost
