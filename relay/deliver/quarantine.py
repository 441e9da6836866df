"""Where suspects are sent: one at a time, by a sender of its own, beside everything else that flies.

A suspect is a delivery with which processes died. Here it can take no other down with it, and one that hangs
keeps nobody waiting. If its sender dies, the attempt stays unsettled: its lease runs out, and it is found
lost.
"""

import time
from collections.abc import Callable

from relay import telemetry
from relay.core.errors import SenderDied
from relay.core.parcels import Parcel
from relay.deliver.flights import Flights
from relay.net.courier import Courier

SILENCE = 5.0  # seconds beyond a suspect's deadline after which its sender is given up
KEPT = 30.0  # seconds for which a sender waits for the next suspect


class Quarantine:
    """For the thread that claims, which calls `turn` often.

    It waits only where a sender starts slowly and its suspect is large, or one is stuck and must be ended.
    """

    def __init__(self, make_courier: Callable[[], Courier], flights: Flights) -> None:
        self._make_courier = make_courier
        self._flights = flights
        self._courier: Courier | None = None
        self._key: str | None = None  # of the suspect that flies
        self._until = 0.0  # when that one is overdue, or the sender not wanted any more

    @property
    def is_free(self) -> bool:
        """Whether a suspect can be sent now."""
        return self._key is None

    def send(self, parcel: Parcel) -> None:
        """Send a suspect, whose flight has begun."""
        try:
            self._started().submit(parcel)
        except SenderDied as death:
            self._lose(parcel.key, str(death))
        else:
            self._key, self._until = parcel.key, time.monotonic() + parcel.deadline + SILENCE

    def turn(self) -> None:
        """Hand in the reply that has come, or give up a sender that brings none."""
        if self._courier is None:
            return
        is_over = time.monotonic() > self._until
        if self._key is None:
            if is_over:
                self.stop()
            return
        try:
            replies = self._courier.replies(0.0)
        except SenderDied as death:
            self._lose(self._key, str(death))
            return
        if replies:
            self._flights.hand_in(replies[0])
            self._key, self._until = None, time.monotonic() + KEPT
        elif is_over:
            self._lose(self._key, "the process that sends webhooks does not end this one")

    def stop(self) -> None:
        """End the sender, and with it what flies."""
        if self._courier is not None:
            self._courier.stop()
            self._courier = None

    def _started(self) -> Courier:
        if self._courier is None:
            self._courier = self._make_courier()
            self._courier.start()
        return self._courier

    def _lose(self, key: str, why: str) -> None:
        self.stop()
        self._key = None
        self._flights.lose(key)
        telemetry.suspect_lost(key.partition("/")[0], why)
