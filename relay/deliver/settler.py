"""The half of a dispatcher that takes replies and records what came of each attempt."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay import telemetry
from relay.core.errors import SenderDied
from relay.core.ids import MintMany
from relay.deliver.flights import Flights
from relay.net.courier import Courier
from relay.store import delivery_settles
from relay.store.clock import Clock
from relay.store.delivery_settles import Done
from relay.store.engine import Store

FLUSH_AFTER = 0.02  # seconds a reply waits at most for others to be settled with
FLUSH_ROWS = 200  # a batch of these costs little more than a batch of 1
GATHER = 0.005  # seconds for which replies gather while none of them is due to be settled
IDLE = 0.25  # seconds of waiting for replies, after which it is seen whether the dispatcher is to end


@dataclass(frozen=True, slots=True)
class SettleRules:
    """What the settings say of settling; `retry_seconds` is the schedule."""

    retry_seconds: Sequence[float]
    mint_many: MintMany
    dice: Callable[[], float]


class Settler:
    """Takes turns on one thread; `turn` waits for replies, and settles them once they are enough or old."""

    def __init__(
        self, store: Store, clock: Clock, courier: Courier, flights: Flights, rules: SettleRules
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._flights = flights
        self._rules = rules
        self._done: list[Done] = []
        self._flush_at = 0.0

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
            self._flush_at = 0.0
        if self._ripe():
            self._settle()

    def _patience(self) -> float:
        """How long to wait for the next reply."""
        if not self._done:
            return IDLE
        return 0.0 if self._ripe() else max(min(self._flush_at - time.monotonic(), GATHER), 0.0)

    def _take(self, patience: float) -> None:
        """Move what has come in from the courier to what is to be settled."""
        if self._done and patience:
            # More will come: let them gather. Waking for each would cost more than they do.
            time.sleep(patience)
            patience = 0.0
        replies = self._courier.replies(patience)
        landed = self._flights.landed(replies)
        if not landed:
            return
        if not self._done:
            self._flush_at = time.monotonic() + FLUSH_AFTER
        ids = self._rules.mint_many("att", len(landed))
        dice = self._rules.dice
        self._done += [
            Done(flight, reply, attempt_id, dice())
            for (flight, reply), attempt_id in zip(landed, ids, strict=True)
        ]

    def _ripe(self) -> bool:
        due = len(self._done) >= FLUSH_ROWS or time.monotonic() >= self._flush_at
        return bool(self._done) and due

    def _settle(self) -> None:
        """Write a batch; if the database does not take it, it is kept and tried again."""
        batch = self._done[:FLUSH_ROWS]
        result = self._store.write(
            delivery_settles.settle, batch, now=self._clock.now(), steps=self._rules.retry_seconds
        )
        del self._done[: len(batch)]
        self._flights.room_made.set()
        telemetry.attempts_ended([_ended(one) for one in result.settled if one.status is not None])
        for turn in result.turns:
            telemetry.endpoint_turned(turn.endpoint_id, turn.became, turn.detail)


def _ended(one: delivery_settles.Settled) -> telemetry.AttemptEnded:
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
