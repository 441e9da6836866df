"""The half of a dispatcher that takes replies and records what came of each attempt."""

import time

from relay import telemetry
from relay.common.errors import SenderDied, StoreUnavailable
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.deliveries.config import DeliveryConfig
from relay.deliveries.in_flight import InFlightRegistry
from relay.deliveries.rules.attempts import AttemptResult
from relay.deliveries.rules.retry_policy import Decision
from relay.deliveries.sql import delivery_results
from relay.sending.sender_client import SenderClient
from relay.telemetry.events import AttemptEnded, EndpointChanged

FLUSH_AFTER = 0.02  # seconds a result waits for others to be recorded with …
FLUSH_BUSY = 0.04  # … and while more are still in flight than have come: large batches cost less
FLUSH_ROWS = 400  # at most, so that no batch holds its locks for long
GATHER = 0.005  # seconds for which replies gather while none of them is due to be recorded
LATE = 5.0  # seconds between two iterations: this process was stopped, or held up by the database
SILENCE = 10.0  # seconds beyond an attempt's longest time in which a sender that works has answered it
IDLE = 0.25  # seconds of waiting for replies, after which it is checked whether the dispatcher is to end


class ResultWriter:
    """Runs on one thread; `run_once` waits for replies, and records them in batches."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sender_client: SenderClient,
        registry: InFlightRegistry,
        config: DeliveryConfig,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sender_client = sender_client
        self._registry = registry
        self._config = config
        self._results: list[AttemptResult] = []
        self._first_at = 0.0  # when the oldest of them came
        self._by_endpoint = False  # a batch failed: until all are recorded, each endpoint's by themselves
        self._one_by_one = False  # our own code failed on one of them: until that is found, each by itself
        self._failing: set[str] = set()  # deliveries on which it failed since the last success …
        self._failed: set[str] = set()  # … and before
        self._ran_at = self._heard_at = time.monotonic()

    @property
    def unrecorded(self) -> int:
        """How many attempts have ended and are not recorded yet."""
        return len(self._results)

    def run_once(self) -> None:
        """Take what has come, and record what is due to be recorded.

        Raises:
            SenderDied: there will be no more replies, and those that came are recorded.
        """
        try:
            self._take(self._wait_seconds())
        except SenderDied:
            if not self._results:
                raise
            self._first_at = 0.0
        if self._results and time.monotonic() >= self._flush_at():
            self._record()

    def _wait_seconds(self) -> float:
        """How long to wait for the next reply."""
        if not self._results:
            return IDLE
        return max(min(self._flush_at() - time.monotonic(), GATHER), 0.0)

    def _flush_at(self) -> float:
        """When what has come is to be recorded."""
        if len(self._results) >= FLUSH_ROWS:
            return 0.0
        is_busy = len(self._results) < self._registry.count
        return self._first_at + (FLUSH_BUSY if is_busy else FLUSH_AFTER)

    def _take(self, wait_seconds: float) -> None:
        """Move what has come in from the sender to what is to be recorded."""
        if self._results and wait_seconds:
            # More will come: let them gather. Waking for each would cost more than they do.
            time.sleep(wait_seconds)
            wait_seconds = 0.0
        completed = self._registry.complete(self._sender_client.replies(wait_seconds))
        self._check_sender(heard=bool(completed))
        if not completed:
            return
        if not self._results:
            self._first_at = time.monotonic()
        ids = self._config.new_ids("att", len(completed))
        rng = self._config.rng
        self._results += [
            AttemptResult(attempt, reply, attempt_id, rng())
            for (attempt, reply), attempt_id in zip(completed, ids, strict=True)
        ]

    def _check_sender(self, *, heard: bool) -> None:
        """Give up a sender that says nothing, although every attempt has its deadline.

        An iteration that came late says nothing of the sender: both may have been stopped.
        """
        now = time.monotonic()
        if heard or not self._registry.with_sender or now - self._ran_at > LATE:
            self._heard_at = now
        self._ran_at = now
        silence = self._config.attempt_seconds + SILENCE
        if now - self._heard_at > silence:
            raise SenderDied(f"the process that sends webhooks has said nothing for {silence:g} s")

    def _record(self) -> None:
        """Record a batch; if that fails, it is kept and tried again, after the others."""
        batch = self._batch()
        try:
            recorded = self._store.write(
                delivery_results.record, batch, now=self._clock.now(), policy=self._config.policy
            )
        except StoreUnavailable:
            self._registry.results_fail = self._by_endpoint = True
            self._results = self._without(batch) + batch
            raise
        except Exception:
            self._one_by_one = True
            self._results = self._without(batch) + ([] if self._is_hopeless(batch) else batch)
            raise
        self._registry.results_fail = False
        self._results = self._without(batch)
        self._note_success()
        self._registry.capacity_freed.set()
        telemetry.emit(
            *(_ended(result, decision) for result, decision in recorded.results if decision is not None),
            *(
                EndpointChanged(change.endpoint_id, change.became, change.detail)
                for change in recorded.changes
            ),
        )

    def _batch(self) -> list[AttemptResult]:
        """What is recorded next; an endpoint that is locked elsewhere holds up no other."""
        if self._one_by_one:
            return self._results[:1]
        if not self._by_endpoint:
            return self._results[:FLUSH_ROWS]
        first = self._results[0].attempt.endpoint_id
        return [result for result in self._results if result.attempt.endpoint_id == first][:FLUSH_ROWS]

    def _without(self, batch: list[AttemptResult]) -> list[AttemptResult]:
        ids = {result.attempt_id for result in batch}
        return [result for result in self._results if result.attempt_id not in ids]

    def _is_hopeless(self, batch: list[AttemptResult]) -> bool:
        """Note on which delivery our own code failed; whether there is no use in trying again.

        If another succeeds and it fails again, it is let go: its lease runs out, and it counts as
        lost. If all fail, something is wrong with them all, and nothing more is claimed.
        """
        if len(batch) > 1:
            return False
        attempt = batch[0].attempt
        self._failing.add(attempt.delivery_id)
        self._registry.results_fail = len(self._failing) > 1
        is_over = self._clock.now() > attempt.started_at + self._config.lease
        return is_over or attempt.delivery_id in self._failed

    def _note_success(self) -> None:
        self._failed |= self._failing
        self._failing.clear()
        if not self._results:
            self._by_endpoint = self._one_by_one = False
            self._failed.clear()


def _ended(result: AttemptResult, decision: Decision) -> AttemptEnded:
    attempt, reply = result.attempt, result.reply
    return AttemptEnded(
        attempt.delivery_id,
        attempt.endpoint_id,
        attempt.number,
        reply.status_code,
        reply.error,
        reply.duration,
        decision.status,
        decision.next_attempt_at,
    )
