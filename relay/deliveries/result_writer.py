"""The half of a dispatcher that takes replies and records what came of each attempt."""

import time

from relay import telemetry
from relay.common.errors import SenderDied, StoreUnavailable
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.deliveries.config import DeliveryConfig
from relay.deliveries.in_flight import InFlightRegistry
from relay.deliveries.sql import delivery_results
from relay.deliveries.sql.attempt_records import Done, Recorded
from relay.sending.sender_client import SenderClient
from relay.telemetry.events import AttemptEnded, EndpointChanged

FLUSH_AFTER = 0.02  # seconds a reply waits for others to be settled with …
FLUSH_BUSY = 0.04  # … and while more are still out than have come: large batches cost less
FLUSH_ROWS = 400  # at most, so that no settle holds its locks for long
GATHER = 0.005  # seconds for which replies gather while none of them is due to be settled
LATE = 5.0  # seconds between two turns: this process was stopped, or held up by the database
SILENCE = 10.0  # seconds beyond an attempt's longest time in which a sender that works has answered it
IDLE = 0.25  # seconds of waiting for replies, after which it is seen whether the dispatcher is to end


class ResultWriter:
    """Takes turns on one thread; `turn` waits for replies, and settles them once they are enough or old."""

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
        self._done: list[Done] = []
        self._first_at = 0.0  # when the oldest of them came
        self._by_endpoint = False  # a batch failed: until all are settled, each endpoint's by themselves
        self._one_by_one = False  # our own code failed on one of them: until that is found, each by itself
        self._failing: set[str] = set()  # deliveries on which it failed since the last success …
        self._failed: set[str] = set()  # … and before
        self._turn_at = self._heard_at = time.monotonic()

    @property
    def unrecorded(self) -> int:
        """How many attempts have ended and are not recorded yet."""
        return len(self._done)

    def run_once(self) -> None:
        """Take what has come, and settle what is due to be settled.

        Raises:
            SenderDied: there will be no more replies, and those that came are settled.
        """
        try:
            self._take(self._retry_timeout())
        except SenderDied:
            if not self._done:
                raise
            self._first_at = 0.0
        if self._ripe():
            self._record()

    def _retry_timeout(self) -> float:
        """How long to wait for the next reply."""
        if not self._done:
            return IDLE
        return max(min(self._ripe_at() - time.monotonic(), GATHER), 0.0)

    def _take(self, retry_timeout: float) -> None:
        """Move what has come in from the courier to what is to be settled."""
        if self._done and retry_timeout:
            # More will come: let them gather. Waking for each would cost more than they do.
            time.sleep(retry_timeout)
            retry_timeout = 0.0
        completed = self._registry.completed(self._sender_client.replies(retry_timeout))
        self._listen(heard=bool(completed))
        if not completed:
            return
        if not self._done:
            self._first_at = time.monotonic()
        ids = self._config.new_ids("att", len(completed))
        rng = self._config.rng
        self._done += [
            Done(attempt, reply, attempt_id, rng())
            for (attempt, reply), attempt_id in zip(completed, ids, strict=True)
        ]

    def _listen(self, *, heard: bool) -> None:
        """Give a sender up that says nothing, although every attempt has its deadline.

        A turn that came late says nothing of the sender: both may have been stopped.
        """
        now = time.monotonic()
        if heard or not self._registry.with_sender or now - self._turn_at > LATE:
            self._heard_at = now
        self._turn_at = now
        silence = self._config.attempt_seconds + SILENCE
        if now - self._heard_at > silence:
            raise SenderDied(f"the process that sends webhooks has said nothing for {silence:g} s")

    def _ripe_at(self) -> float:
        """When what has come is to be settled."""
        if len(self._done) >= FLUSH_ROWS:
            return 0.0
        return self._first_at + (FLUSH_AFTER if len(self._done) >= self._registry.count else FLUSH_BUSY)

    def _ripe(self) -> bool:
        return bool(self._done) and time.monotonic() >= self._ripe_at()

    def _record(self) -> None:
        """Write a batch; if that fails, it is kept and tried again, after the others."""
        batch = self._batch()
        try:
            result = self._store.write(
                delivery_results.record, batch, now=self._clock.now(), retry_delays=self._config.retry_delays
            )
        except StoreUnavailable:
            self._registry.results_fail = self._by_endpoint = True
            self._done = self._without(batch) + batch
            raise
        except Exception:
            self._one_by_one = True
            self._done = self._without(batch) + ([] if self._is_hopeless(batch) else batch)
            raise
        self._registry.results_fail = False
        self._done = self._without(batch)
        self._note_success()
        self._registry.capacity_freed.set()
        telemetry.emit(
            *(_ended(one) for one in result.recorded if one.status is not None),
            *(EndpointChanged(one.endpoint_id, one.became, one.detail) for one in result.changes),
        )

    def _is_hopeless(self, batch: list[Done]) -> bool:
        """Note on which delivery our own code failed; say whether there is no use in trying it again.

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
        if not self._done:
            self._by_endpoint = self._one_by_one = False
            self._failed.clear()

    def _batch(self) -> list[Done]:
        """What is settled next. One endpoint that somebody has locked must not hold up all the others."""
        if self._one_by_one:
            return self._done[:1]
        if not self._by_endpoint:
            return self._done[:FLUSH_ROWS]
        first = self._done[0].attempt.endpoint_id
        return [one for one in self._done if one.attempt.endpoint_id == first][:FLUSH_ROWS]

    def _without(self, batch: list[Done]) -> list[Done]:
        taken = {one.attempt_id for one in batch}
        return [one for one in self._done if one.attempt_id not in taken]


def _ended(one: Recorded) -> AttemptEnded:
    """What is told of an attempt; of one whose claim was no longer ours, whoever followed has told."""
    assert one.status is not None
    attempt, reply = one.done.attempt, one.done.reply
    return AttemptEnded(
        attempt.delivery_id,
        attempt.endpoint_id,
        attempt.number,
        reply.status_code,
        reply.error,
        reply.duration,
        one.status,
        one.next_attempt_at,
    )
