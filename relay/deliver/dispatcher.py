"""One dispatcher from its start to its end: the claimer on this thread, the settler on another."""

import time
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread

from relay import telemetry
from relay.core.errors import SenderDied
from relay.deliver.claimer import Claimer
from relay.deliver.flights import Flights
from relay.deliver.quarantine import Quarantine
from relay.deliver.rules import DeliverRules
from relay.deliver.settler import Settler
from relay.net.courier import Courier
from relay.store.clock import Clock
from relay.store.engine import Store
from relay.store.keyring import Keyring

SQL_PAUSE = 0.5  # seconds before a turn that failed is taken again
JOIN = 0.05  # seconds between two looks at a suspect that still flies at the end
SETTLE_MARGIN = 5.0  # seconds beyond the longest attempt, for what ended last to be settled


class Dispatcher:
    """Owns what is in flight from claim to settle."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        make_courier: Callable[[], Courier],
        keyring: Keyring,
        rules: DeliverRules,
    ) -> None:
        self._courier = courier = make_courier()
        self._attempt_seconds = rules.attempt_seconds
        self._flights = Flights(rules.max_in_flight)
        self._quarantine = Quarantine(make_courier, self._flights)
        self._claimer = Claimer(store, clock, courier, keyring, self._flights, self._quarantine, rules)
        self._settler = Settler(store, clock, courier, self._flights, rules)
        self._give_up_at: float | None = None  # set once nothing new is begun
        self._death: SenderDied | None = None

    def run(self, stop: Flag) -> int:
        """Deliver until told to stop, then finish what is in flight and settle it.

        Returns how many attempts had to be abandoned; their leases run out and others make them again.

        Raises:
            SenderDied: the sender is gone; what it had answered by then is settled.
        """
        self._courier.start()
        settling = Thread(target=self._keep_settling, name="settler")
        settling.start()
        try:
            while not stop.is_set() and self._death is None:
                self._guarded("claim", self._claimer.turn)
        finally:
            self._give_up_at = time.monotonic() + self._attempt_seconds + SETTLE_MARGIN
            while settling.is_alive():
                self._quarantine.turn()
                settling.join(JOIN)
            self._quarantine.stop()
            self._courier.stop()
        abandoned = self._flights.count + self._settler.unsettled
        if self._death is not None:
            self._death.abandoned = abandoned
            raise self._death
        return abandoned

    def _keep_settling(self) -> None:
        while not self._has_finished() and self._guarded("settle", self._settler.turn):
            pass

    def _has_finished(self) -> bool:
        if self._give_up_at is None:
            return False
        in_hand = self._flights.count + self._settler.unsettled
        return not in_hand or time.monotonic() >= self._give_up_at

    def _guarded(self, stage: str, turn: Callable[[], None]) -> bool:
        """Take a turn; False: there are no more. A surprise ends one; what is in flight stays in hand."""
        try:
            turn()
        except SenderDied as death:
            self._death = death
            return False
        except Exception as error:  # noqa: BLE001 - the loop's last line of defence: say it and go on
            telemetry.pass_failed(stage, error, SQL_PAUSE)
            time.sleep(SQL_PAUSE)
        return True
