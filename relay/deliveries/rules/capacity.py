"""Who holds a dispatcher's slots and memory: the books of what is in flight, kept as it comes and goes.

Endpoints that have not answered lately never hold all of either: however many of them hang at once,
and however large what they are sent is, those that answer go on. Times are seconds of the monotonic
clock.
"""

from collections import Counter
from typing import NamedTuple

from relay.common.time import Micros

LIVELY = 5.0  # seconds since its last answer for which an endpoint counts as one that answers
SILENT_SHARE = 7 / 8  # of the space, for endpoints that have not answered lately: the rest is kept for others
COLD_SHARE = 1 / 2  # of the space, for endpoints that are new or failing
MEMORY = 128 << 20  # bytes of bodies in flight
FEW = 4096  # endpoints that have answered, of which none is forgotten


class Capacity(NamedTuple):
    """Room for so many flights, with bodies of so many bytes in all; negative where it is overdrawn."""

    slots: int
    bytes: int

    @property
    def is_full(self) -> bool:
        """Whether nothing fits in."""
        return self.slots <= 0 or self.bytes <= 0

    def within(self, other: "Capacity") -> "Capacity":
        """What is left of it inside another."""
        return Capacity(min(self.slots, other.slots), min(self.bytes, other.bytes))

    def share(self, part: float) -> "Capacity":
        """A part of it, at least one slot."""
        return Capacity(max(round(self.slots * part), 1), round(self.bytes * part))

    def less(self, other: "Capacity") -> "Capacity":
        """What is left when so much is taken."""
        return Capacity(self.slots - other.slots, self.bytes - other.bytes)


class InFlightAttempt(NamedTuple):
    """An attempt under way: whose claim it is, when it began (database time), and what it takes."""

    delivery_id: str
    token: str
    number: int
    endpoint_id: str
    subscriber_id: str
    cold: bool
    payload_bytes: int
    started_at: Micros


class Slots:
    """The books of one dispatcher with `most` slots."""

    def __init__(self, most: int) -> None:
        self._all = Capacity(most, MEMORY)
        self._in_flight = self._in_flight_bytes = 0
        self._cold = self._cold_bytes = 0
        self._endpoints: Counter[str] = Counter()
        self._endpoint_bytes: Counter[str] = Counter()
        self._answered_at: dict[str, float] = {}
        self._forget_at = FEW
        self.held: Counter[str] = Counter()
        """How many each subscriber holds."""

    def take(self, attempt: InFlightAttempt) -> None:
        """A flight starts."""
        self._count(attempt, 1)

    def free(self, attempt: InFlightAttempt, *, answered_at: float | None) -> None:
        """A flight has ended; `answered_at` is None where there was no answer at all."""
        self._count(attempt, -1)
        if not self._endpoints[attempt.endpoint_id]:
            del self._endpoints[attempt.endpoint_id], self._endpoint_bytes[attempt.endpoint_id]
        if answered_at is not None:
            self._answered_at[attempt.endpoint_id] = answered_at
            if len(self._answered_at) > self._forget_at:
                self._forget_at = max(2 * len(self.lively(answered_at)), FEW)

    def _count(self, attempt: InFlightAttempt, one: int) -> None:
        size = one * attempt.payload_bytes
        self._in_flight += one
        self._in_flight_bytes += size
        if attempt.cold:
            self._cold += one
            self._cold_bytes += size
        self._endpoints[attempt.endpoint_id] += one
        self._endpoint_bytes[attempt.endpoint_id] += size
        self.held[attempt.subscriber_id] += one

    @property
    def slots_left(self) -> int:
        """How many more flights there may be."""
        return self._all.slots - self._in_flight

    @property
    def left(self) -> Capacity:
        """What is free."""
        return self._all.less(Capacity(self._in_flight, self._in_flight_bytes))

    @property
    def left_for_cold(self) -> Capacity:
        """What new and failing endpoints may still take."""
        return self._all.share(COLD_SHARE).less(Capacity(self._cold, self._cold_bytes))

    def left_for_silent(self, now: float) -> Capacity:
        """What endpoints which have not answered lately may still take."""
        since = now - LIVELY
        answered_at = self._answered_at
        silent = [one for one in self._endpoints if answered_at.get(one, 0.0) < since]
        taken = Capacity(
            sum(map(self._endpoints.__getitem__, silent)), sum(map(self._endpoint_bytes.__getitem__, silent))
        )
        return self._all.share(SILENT_SHARE).less(taken)

    def lively(self, now: float) -> list[str]:
        """The endpoints that have answered lately; the others are forgotten."""
        since = now - LIVELY
        self._answered_at = {one: at for one, at in self._answered_at.items() if at >= since}
        return sorted(self._answered_at)
