"""The capacity of a dispatcher: how many attempts, with how many bytes of bodies, may be in flight.

Endpoints that have not answered lately never hold all of it: however many of them hang at once, and
however large their bodies are, the others go on. Times are seconds of the monotonic clock.
"""

from collections import Counter
from typing import NamedTuple

from relay.deliveries.rules.attempts import InFlightAttempt

RESPONSIVE_FOR = 5.0  # seconds since its last answer for which an endpoint counts as responsive
SILENT_QUOTA = 7 / 8  # of the capacity, for endpoints that have not answered lately: the rest is for others
COLD_QUOTA = 1 / 2  # of the capacity, for endpoints that are new or failing
MEMORY = 128 << 20  # bytes of bodies in flight
REMEMBERED = 4096  # endpoints that have answered, of which none is forgotten


class Capacity(NamedTuple):
    """So many slots, for bodies of so many bytes in all; negative where it is overdrawn."""

    slots: int
    bytes: int

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing more may start."""
        return self.slots <= 0 or self.bytes <= 0

    def within(self, other: "Capacity") -> "Capacity":
        """The lesser of both."""
        return Capacity(min(self.slots, other.slots), min(self.bytes, other.bytes))

    def quota(self, part: float) -> "Capacity":
        """A part of it, at least one slot."""
        return Capacity(max(round(self.slots * part), 1), round(self.bytes * part))

    def minus(self, other: "Capacity") -> "Capacity":
        """What is left when so much is taken."""
        return Capacity(self.slots - other.slots, self.bytes - other.bytes)


class CapacityTracker:
    """Counts what is in flight from one dispatcher with `most` slots."""

    def __init__(self, most: int) -> None:
        self._all = Capacity(most, MEMORY)
        self._in_flight = self._in_flight_bytes = 0
        self._cold = self._cold_bytes = 0
        self._endpoints: Counter[str] = Counter()
        self._endpoint_bytes: Counter[str] = Counter()
        self._answered_at: dict[str, float] = {}
        self._forget_at = REMEMBERED
        self.held: Counter[str] = Counter()
        """How many slots each subscriber holds."""

    def take(self, attempt: InFlightAttempt) -> None:
        """An attempt starts."""
        self._count(attempt, 1)

    def free(self, attempt: InFlightAttempt, *, answered_at: float | None) -> None:
        """An attempt has ended; `answered_at` is None where there was no answer at all."""
        self._count(attempt, -1)
        if not self._endpoints[attempt.endpoint_id]:
            del self._endpoints[attempt.endpoint_id], self._endpoint_bytes[attempt.endpoint_id]
        if answered_at is not None:
            self._answered_at[attempt.endpoint_id] = answered_at
            if len(self._answered_at) > self._forget_at:
                self._forget_at = max(2 * len(self.responsive(answered_at)), REMEMBERED)

    def _count(self, attempt: InFlightAttempt, change: int) -> None:
        size = change * attempt.payload_bytes
        self._in_flight += change
        self._in_flight_bytes += size
        if attempt.cold:
            self._cold += change
            self._cold_bytes += size
        self._endpoints[attempt.endpoint_id] += change
        self._endpoint_bytes[attempt.endpoint_id] += size
        self.held[attempt.subscriber_id] += change

    @property
    def slots_left(self) -> int:
        """How many more attempts may start."""
        return self._all.slots - self._in_flight

    @property
    def left(self) -> Capacity:
        """What is free."""
        return self._all.minus(Capacity(self._in_flight, self._in_flight_bytes))

    @property
    def left_for_cold(self) -> Capacity:
        """What new and failing endpoints may still take."""
        return self._all.quota(COLD_QUOTA).minus(Capacity(self._cold, self._cold_bytes))

    def left_for_silent(self, now: float) -> Capacity:
        """What endpoints which have not answered lately may still take."""
        silent_since = now - RESPONSIVE_FOR
        answered_at = self._answered_at
        silent = [
            endpoint_id for endpoint_id in self._endpoints if answered_at.get(endpoint_id, 0.0) < silent_since
        ]
        taken = Capacity(
            sum(map(self._endpoints.__getitem__, silent)), sum(map(self._endpoint_bytes.__getitem__, silent))
        )
        return self._all.quota(SILENT_QUOTA).minus(taken)

    def responsive(self, now: float) -> list[str]:
        """The endpoints that have answered lately; the others are forgotten."""
        silent_since = now - RESPONSIVE_FOR
        self._answered_at = {
            endpoint_id: answered_at
            for endpoint_id, answered_at in self._answered_at.items()
            if answered_at >= silent_since
        }
        return sorted(self._answered_at)
