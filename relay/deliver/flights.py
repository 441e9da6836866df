"""What is in flight, for the thread that claims and the one that settles: what changes or sums it locks."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from threading import Event, Lock

from relay.core.records import Reply
from relay.core.slots import Flight, Slots
from relay.store.delivery_choice import Room

Landed = tuple[Flight, Reply]


class Flights:
    """The flights of one dispatcher with so many slots, by the keys of their parcels.

    `room_made` is set when a settle has made room; the claimer waits for it and clears it. While
    `settles_fail`, nothing is claimed: what can't be recorded would be sent again and again.
    """

    def __init__(self, most: int) -> None:
        self.room_made = Event()
        self.settles_fail = False
        self._lock = Lock()
        self._slots = Slots(most)
        self._flights: dict[str, Flight] = {}
        self._never_left: deque[Reply] = deque()

    def begin(self, flights: Iterable[tuple[str, Flight]]) -> None:
        """Flights begin: their parcels are about to be submitted, under these keys."""
        with self._lock:
            for key, flight in flights:
                self._slots.take(flight)
                self._flights[key] = flight

    def fail(self, reply: Reply) -> None:
        """End a flight whose parcel could not be made: `landed` brings it back beside those that came."""
        self._never_left.append(reply)

    def landed(self, replies: Iterable[Reply]) -> list[Landed]:
        """The flights that these replies end, and those that never left; a reply to nothing is dropped."""
        now = time.monotonic()
        found = []
        with self._lock:
            never_left = [self._never_left.popleft() for _ in range(len(self._never_left))]
            for reply in (*replies, *never_left):
                flight = self._flights.pop(reply.key, None)
                if flight is not None:
                    self._slots.free(flight, answered_at=now if reply.status_code else None)
                    found.append((flight, reply))
        return found

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._flights)

    @property
    def slots_left(self) -> int:
        """How many more there may be."""
        return self._slots.left

    def room(self, most: int, turns: Sequence[str], *, unproven: bool, tests: bool, reach: float) -> Room:
        """What can be taken on now, `most` at once, and of unproven endpoints if there are any ready.

        `turns`, `tests` and `reach` are as in `Room`. Where silent endpoints hold their whole share, it is
        only for the others.
        """
        now = time.monotonic()
        with self._lock:
            slots = min(self._slots.left, most)
            for_silent = self._slots.left_for_silent(now)
            return Room(
                slots=min(slots, for_silent) if for_silent > 0 else slots,
                unproven_slots=self._slots.left_for_unproven if unproven else 0,
                payload_bytes=self._slots.bytes_left,
                turns=turns,
                held=self._slots.held.copy(),
                only=None if for_silent > 0 else self._slots.lively(now),
                tests=tests,
                reach=reach,
            )
