"""Who holds a dispatcher's slots: the books of what is in flight, kept as it comes and goes.

Endpoints that have not answered lately never hold every slot: however many of them hang at once, those that
answer go on. Times are seconds of the monotonic clock.
"""

from collections import Counter
from typing import NamedTuple

from relay.core.records import Micros

LIVELY = 5.0  # seconds since its last answer for which an endpoint counts as one that answers
SILENT_SHARE = 7 / 8  # of the slots, for endpoints that have not answered lately: the rest is kept for others
UNPROVEN_SHARE = 1 / 2  # of the slots, for endpoints that are new or failing
MEMORY = 128 << 20  # bytes of bodies in flight


class Flight(NamedTuple):
    """An attempt under way: whose claim it is, when it began (database time), and what it takes."""

    delivery_id: str
    token: str
    number: int
    endpoint_id: str
    subscriber_id: str
    unproven: bool
    payload_bytes: int
    started_at: Micros


class Slots:
    """The books of one dispatcher with `most` slots."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._flying = 0
        self._unproven = 0
        self._bytes = 0
        self._endpoints: Counter[str] = Counter()
        self._answered_at: dict[str, float] = {}
        self.held: Counter[str] = Counter()
        """How many each subscriber holds."""

    def take(self, flight: Flight) -> None:
        """A flight starts."""
        self._count(flight, 1)

    def free(self, flight: Flight, *, answered_at: float | None) -> None:
        """A flight has ended; `answered_at` is None where there was no answer at all."""
        self._count(flight, -1)
        if not self._endpoints[flight.endpoint_id]:
            del self._endpoints[flight.endpoint_id]
        if answered_at is not None:
            self._answered_at[flight.endpoint_id] = answered_at

    def _count(self, flight: Flight, one: int) -> None:
        self._flying += one
        self._unproven += one * flight.unproven
        self._bytes += one * flight.payload_bytes
        self._endpoints[flight.endpoint_id] += one
        self.held[flight.subscriber_id] += one

    @property
    def left(self) -> int:
        """Slots that are free."""
        return self._most - self._flying

    @property
    def left_for_unproven(self) -> int:
        """Slots that new and failing endpoints may still take."""
        return max(round(self._most * UNPROVEN_SHARE), 1) - self._unproven

    @property
    def bytes_left(self) -> int:
        """Bytes of bodies that may still be taken on."""
        return MEMORY - self._bytes

    def left_for_silent(self, now: float) -> int:
        """Slots that endpoints which have not answered lately may still take."""
        since = now - LIVELY
        answered_at = self._answered_at
        silent = sum(
            count
            for endpoint_id, count in self._endpoints.items()
            if answered_at.get(endpoint_id, 0.0) < since
        )
        return max(round(self._most * SILENT_SHARE), 1) - silent

    def lively(self, now: float) -> list[str]:
        """The endpoints that have answered lately; the others are forgotten."""
        since = now - LIVELY
        self._answered_at = {one: at for one, at in self._answered_at.items() if at >= since}
        return sorted(self._answered_at)
