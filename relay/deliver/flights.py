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
        self._apart: set[str] = set()
        self._handed_in: deque[Reply] = deque()

    def begin(self, flights: Iterable[tuple[str, Flight]]) -> None:
        """Flights begin: their parcels are about to be submitted, under these keys."""
        with self._lock:
            for key, flight in flights:
                self._slots.take(flight)
                self._flights[key] = flight

    def begin_apart(self, key: str, flight: Flight) -> None:
        """One begins that this dispatcher's own sender does not carry."""
        self._apart.add(key)
        self.begin([(key, flight)])

    def hand_in(self, reply: Reply) -> None:
        """End a flight whose reply the sender did not bring: `landed` gives it beside those that came."""
        self._handed_in.append(reply)

    def lose(self, key: str) -> None:
        """End a flight of which nobody will hear; its lease runs out, and it is found lost."""
        with self._lock:
            flight = self._flights.pop(key, None)
            self._apart.discard(key)
            if flight is not None:
                self._slots.free(flight, answered_at=None)

    def landed(self, replies: Iterable[Reply]) -> list[Landed]:
        """The flights that these replies end, and those handed in; a reply to nothing is dropped."""
        now = time.monotonic()
        found = []
        with self._lock:
            handed_in = [self._handed_in.popleft() for _ in range(len(self._handed_in))]
            for reply in (*replies, *handed_in):
                flight = self._flights.pop(reply.key, None)
                if flight is not None:
                    self._apart.discard(reply.key)
                    self._slots.free(flight, answered_at=now if reply.status_code else None)
                    found.append((flight, reply))
        return found

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._flights)

    @property
    def with_sender(self) -> int:
        """How many of them this dispatcher's own sender has."""
        return len(self._flights) - len(self._apart)

    @property
    def slots_left(self) -> int:
        """How many more there may be."""
        return self._slots.slots_left

    def room(
        self, most: int, turns: Sequence[str], *, unproven: bool, tests: bool, suspects: bool, reach: float
    ) -> Room:
        """What can be taken on now, `most` at once, and of unproven endpoints if there are any ready.

        `turns`, `tests`, `suspects` and `reach` are as in `Room`. Where silent endpoints hold their whole
        share, it is only for the others.
        """
        now = time.monotonic()
        with self._lock:
            space = self._slots.left
            for_silent = self._slots.left_for_silent(now)
            if not for_silent.is_full:
                space = space.within(for_silent)
            for_unproven = self._slots.left_for_unproven
            return Room(
                slots=min(space.slots, most),
                payload_bytes=space.bytes,
                unproven_slots=for_unproven.slots if unproven else 0,
                unproven_bytes=for_unproven.bytes,
                turns=turns,
                held=self._slots.held.copy(),
                only=self._slots.lively(now) if for_silent.is_full else None,
                tests=tests,
                suspects=suspects,
                reach=reach,
            )
