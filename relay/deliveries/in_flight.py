"""What is in flight, for the thread that claims and the one that settles: what changes or sums it locks."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from threading import Event, Lock

from relay.deliveries.rules.capacity import InFlightAttempt, Slots
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.sending.rules.outbound import Reply

Completed = tuple[InFlightAttempt, Reply]


class InFlightRegistry:
    """The flights of one dispatcher with so many slots, by the keys of their parcels.

    `room_made` is set when a settle has made room; the claimer waits for it and clears it. While
    `settles_fail`, nothing is claimed: what can't be recorded would be sent again and again.
    """

    def __init__(self, most: int) -> None:
        self.capacity_freed = Event()
        self.results_fail = False
        self._lock = Lock()
        self._slots = Slots(most)
        self._registry: dict[str, InFlightAttempt] = {}
        self._apart: set[str] = set()
        self._handed_in: deque[Reply] = deque()

    def begin(self, registry: Iterable[tuple[str, InFlightAttempt]]) -> None:
        """Flights begin: their parcels are about to be submitted, under these keys."""
        with self._lock:
            for key, attempt in registry:
                self._slots.take(attempt)
                self._registry[key] = attempt

    def begin_apart(self, key: str, attempt: InFlightAttempt) -> None:
        """One begins that this dispatcher's own sender does not carry."""
        self._apart.add(key)
        self.begin([(key, attempt)])

    def hand_in(self, reply: Reply) -> None:
        """End a flight whose reply the sender did not bring: `landed` gives it beside those that came."""
        self._handed_in.append(reply)

    def lose(self, key: str) -> None:
        """End a flight of which nobody will hear; its lease runs out, and it is found lost."""
        with self._lock:
            attempt = self._registry.pop(key, None)
            self._apart.discard(key)
            if attempt is not None:
                self._slots.free(attempt, answered_at=None)

    def completed(self, replies: Iterable[Reply]) -> list[Completed]:
        """The flights that these replies end, and those handed in; a reply to nothing is dropped."""
        now = time.monotonic()
        found = []
        with self._lock:
            handed_in = [self._handed_in.popleft() for _ in range(len(self._handed_in))]
            for reply in (*replies, *handed_in):
                attempt = self._registry.pop(reply.key, None)
                if attempt is not None:
                    self._apart.discard(reply.key)
                    self._slots.free(attempt, answered_at=now if reply.status_code else None)
                    found.append((attempt, reply))
        return found

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._registry)

    @property
    def with_sender(self) -> int:
        """How many of them this dispatcher's own sender has."""
        return len(self._registry) - len(self._apart)

    @property
    def slots_left(self) -> int:
        """How many more there may be."""
        return self._slots.slots_left

    def capacity(
        self, most: int, rotation: Sequence[str], *, cold: bool, tests: bool, poison: bool, scan_factor: float
    ) -> ClaimCapacity:
        """What can be taken on now, `most` at once, and of unproven endpoints if there are any ready.

        `turns`, `tests`, `suspects` and `reach` are as in `Room`. Where silent endpoints hold their
        whole share, it is only for the others.
        """
        now = time.monotonic()
        with self._lock:
            free_capacity = self._slots.left
            for_silent = self._slots.left_for_silent(now)
            if not for_silent.is_full:
                free_capacity = free_capacity.within(for_silent)
            for_cold = self._slots.left_for_cold
            return ClaimCapacity(
                slots=min(free_capacity.slots, most),
                payload_bytes=free_capacity.bytes,
                cold_slots=for_cold.slots if cold else 0,
                cold_bytes=for_cold.bytes,
                rotation=rotation,
                held=self._slots.held.copy(),
                only=self._slots.lively(now) if for_silent.is_full else None,
                tests=tests,
                poison=poison,
                scan_factor=scan_factor,
            )
