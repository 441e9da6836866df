"""The half of a dispatcher that takes replies and records what came of each attempt."""

import time

from relay import telemetry
from relay.core.errors import SenderDied, StoreUnavailable
from relay.deliver.flights import Flights
from relay.deliver.rules import DeliverRules
from relay.net.courier import Courier
from relay.store import delivery_settles
from relay.store.clock import Clock
from relay.store.delivery_records import Done, Settled
from relay.store.engine import Store

FLUSH_AFTER = 0.02  # seconds a reply waits for others to be settled with …
FLUSH_BUSY = 0.04  # … and while more are still out than have come: large batches cost less
FLUSH_ROWS = 400  # at most, so that no settle holds its locks for long
GATHER = 0.005  # seconds for which replies gather while none of them is due to be settled
LATE = 5.0  # seconds between two turns: this process was stopped, or held up by the database
SILENCE = 10.0  # seconds beyond an attempt's longest time in which a sender that works has answered it
IDLE = 0.25  # seconds of waiting for replies, after which it is seen whether the dispatcher is to end


class Settler:
    """Takes turns on one thread; `turn` waits for replies, and settles them once they are enough or old."""

    def __init__(
        self, store: Store, clock: Clock, courier: Courier, flights: Flights, rules: DeliverRules
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._flights = flights
        self._rules = rules
        self._done: list[Done] = []
        self._first_at = 0.0  # when the oldest of them came
        self._by_endpoint = False  # a batch failed: until all are settled, each endpoint's by themselves
        self._one_by_one = False  # our own code failed on one of them: until that is found, each by itself
        self._failing: set[str] = set()  # deliveries on which it failed since the last success …
        self._failed: set[str] = set()  # … and before
        self._turn_at = self._heard_at = time.monotonic()

    @property
    def unsettled(self) -> int:
        """How many attempts have ended and are not recorded yet."""
        return len(self._done)

    def turn(self) -> None:
        """Take what has come, and settle what is due to be settled.

        Raises:
            SenderDied: there will be no more replies, and those that came are settled.
        """
        try:
            self._take(self._patience())
        except SenderDied:
            if not self._done:
                raise
            self._first_at = 0.0
        if self._ripe():
            self._settle()

    def _patience(self) -> float:
        """How long to wait for the next reply."""
        if not self._done:
            return IDLE
        return max(min(self._ripe_at() - time.monotonic(), GATHER), 0.0)

    def _take(self, patience: float) -> None:
        """Move what has come in from the courier to what is to be settled."""
        if self._done and patience:
            # More will come: let them gather. Waking for each would cost more than they do.
            time.sleep(patience)
            patience = 0.0
        landed = self._flights.landed(self._courier.replies(patience))
        self._listen(heard=bool(landed))
        if not landed:
            return
        if not self._done:
            self._first_at = time.monotonic()
        ids = self._rules.mint_many("att", len(landed))
        dice = self._rules.dice
        self._done += [
            Done(flight, reply, attempt_id, dice())
            for (flight, reply), attempt_id in zip(landed, ids, strict=True)
        ]

    def _listen(self, *, heard: bool) -> None:
        """Give a sender up that says nothing, although every attempt has its deadline.

        A turn that came late says nothing of the sender: both may have been stopped.
        """
        now = time.monotonic()
        if heard or not self._flights.with_sender or now - self._turn_at > LATE:
            self._heard_at = now
        self._turn_at = now
        silence = self._rules.attempt_seconds + SILENCE
        if now - self._heard_at > silence:
            raise SenderDied(f"the process that sends webhooks has said nothing for {silence:g} s")

    def _ripe_at(self) -> float:
        """When what has come is to be settled."""
        if len(self._done) >= FLUSH_ROWS:
            return 0.0
        return self._first_at + (FLUSH_AFTER if len(self._done) >= self._flights.count else FLUSH_BUSY)

    def _ripe(self) -> bool:
        return bool(self._done) and time.monotonic() >= self._ripe_at()

    def _settle(self) -> None:
        """Write a batch; if that fails, it is kept and tried again, after the others."""
        batch = self._batch()
        try:
            result = self._store.write(
                delivery_settles.settle, batch, now=self._clock.now(), steps=self._rules.retry_seconds
            )
        except StoreUnavailable:
            self._flights.settles_fail = self._by_endpoint = True
            self._done = self._without(batch) + batch
            raise
        except Exception:
            self._one_by_one = True
            self._done = self._without(batch) + ([] if self._is_hopeless(batch) else batch)
            raise
        self._flights.settles_fail = False
        self._done = self._without(batch)
        self._note_success()
        self._flights.room_made.set()
        telemetry.attempts_ended([_ended(one) for one in result.settled if one.status is not None])
        for turn in result.turns:
            telemetry.endpoint_turned(turn.endpoint_id, turn.became, turn.detail)

    def _is_hopeless(self, batch: list[Done]) -> bool:
        """Note on which delivery our own code failed; say whether there is no use in trying it again.

        If another succeeds and it fails again, it is let go: its lease runs out, and it counts as lost. If
        all fail, something is wrong with them all, and nothing more is claimed.
        """
        if len(batch) > 1:
            return False
        flight = batch[0].flight
        self._failing.add(flight.delivery_id)
        self._flights.settles_fail = len(self._failing) > 1
        is_over = self._clock.now() > flight.started_at + self._rules.lease
        return is_over or flight.delivery_id in self._failed

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
        first = self._done[0].flight.endpoint_id
        return [one for one in self._done if one.flight.endpoint_id == first][:FLUSH_ROWS]

    def _without(self, batch: list[Done]) -> list[Done]:
        taken = {one.attempt_id for one in batch}
        return [one for one in self._done if one.attempt_id not in taken]


def _ended(one: Settled) -> telemetry.AttemptEnded:
    """What is told of an attempt; of one whose claim was no longer ours, whoever followed has told."""
    assert one.status is not None
    flight, reply = one.done.flight, one.done.reply
    return telemetry.AttemptEnded(
        flight.delivery_id,
        flight.endpoint_id,
        flight.number,
        reply.status_code,
        reply.error,
        reply.duration,
        one.status,
        one.next_attempt_at,
    )
