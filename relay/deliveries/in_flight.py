"""The attempts in flight from one dispatcher, shared by its two threads."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from threading import Event, Lock

from relay.deliveries.rules.attempts import InFlightAttempt
from relay.deliveries.rules.capacity import CapacityTracker
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.sending.rules.outbound import Reply


class InFlightRegistry:
    """The attempts in flight, by the keys of their outbound requests.

    `capacity_freed` is set when results were recorded; the claimer waits for it and clears it.
    While `results_fail`, nothing is claimed: what can't be recorded would be sent again and again.
    """

    def __init__(self, most: int) -> None:
        self.capacity_freed = Event()
        self.results_fail = False
        self._lock = Lock()
        self._tracker = CapacityTracker(most)
        self._attempts: dict[str, InFlightAttempt] = {}
        self._isolated: set[str] = set()
        self._handed_in: deque[Reply] = deque()

    def add(self, attempts: Iterable[tuple[str, InFlightAttempt]]) -> None:
        """Attempts begin: their requests are about to be submitted, under these keys."""
        with self._lock:
            for key, attempt in attempts:
                self._tracker.take(attempt)
                self._attempts[key] = attempt

    def add_isolated(self, key: str, attempt: InFlightAttempt) -> None:
        """An attempt begins that the isolated sender carries."""
        self._isolated.add(key)
        self.add([(key, attempt)])

    def hand_in(self, reply: Reply) -> None:
        """End an attempt whose reply came another way: `complete` returns it beside the others."""
        self._handed_in.append(reply)

    def discard(self, key: str) -> None:
        """End an attempt that nobody will record; its lease runs out, and it is found lost."""
        with self._lock:
            attempt = self._attempts.pop(key, None)
            self._isolated.discard(key)
            if attempt is not None:
                self._tracker.free(attempt, answered_at=None)

    def complete(self, replies: Iterable[Reply]) -> list[tuple[InFlightAttempt, Reply]]:
        """The attempts that these replies end, and those handed in; unknown replies are dropped."""
        now = time.monotonic()
        completed = []
        with self._lock:
            handed_in = [self._handed_in.popleft() for _ in range(len(self._handed_in))]
            for reply in (*replies, *handed_in):
                attempt = self._attempts.pop(reply.key, None)
                if attempt is not None:
                    self._isolated.discard(reply.key)
                    self._tracker.free(attempt, answered_at=now if reply.status_code else None)
                    completed.append((attempt, reply))
        return completed

    @property
    def count(self) -> int:
        """How many attempts are in flight."""
        return len(self._attempts)

    @property
    def with_sender(self) -> int:
        """How many of them this dispatcher's own sender has."""
        return len(self._attempts) - len(self._isolated)

    @property
    def slots_left(self) -> int:
        """How many more attempts may start."""
        return self._tracker.slots_left

    def capacity(
        self, most: int, rotation: Sequence[str], *, cold: bool, tests: bool, poison: bool, scan_factor: float
    ) -> ClaimCapacity:
        """What can be claimed now, `most` at once; the other arguments are as in `ClaimCapacity`.

        Where silent endpoints hold their whole quota, the rest is only for the others.
        """
        now = time.monotonic()
        with self._lock:
            left = self._tracker.left
            for_silent = self._tracker.left_for_silent(now)
            if not for_silent.is_exhausted:
                left = left.within(for_silent)
            for_cold = self._tracker.left_for_cold
            return ClaimCapacity(
                slots=min(left.slots, most),
                payload_bytes=left.bytes,
                cold_slots=for_cold.slots if cold else 0,
                cold_bytes=for_cold.bytes,
                rotation=rotation,
                held=self._tracker.held.copy(),
                only=self._tracker.responsive(now) if for_silent.is_exhausted else None,
                tests=tests,
                poison=poison,
                scan_factor=scan_factor,
            )
