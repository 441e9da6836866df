"""One dispatcher, start to end: the claimer on this thread, the result writer on another."""

import time
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread

from relay import telemetry
from relay.common.errors import SenderDied
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.deliveries.claimer import Claimer
from relay.deliveries.config import DeliveryConfig
from relay.deliveries.in_flight import InFlightRegistry
from relay.deliveries.isolated_sender import IsolatedSender
from relay.deliveries.result_writer import ResultWriter
from relay.deliveries.signing_keys import Keyring
from relay.sending.sender_client import SenderClient
from relay.telemetry.events import IterationFailed

SQL_PAUSE = 0.5  # seconds before an iteration that failed is tried again
JOIN = 0.05  # seconds between two checks of a poison message that is still in flight at the end
RECORD_MARGIN = 5.0  # seconds beyond the longest attempt, for what ended last to be recorded


class Dispatcher:
    """Owns what is in flight, from the claim to the recorded result."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        make_sender_client: Callable[[], SenderClient],
        keyring: Keyring,
        config: DeliveryConfig,
    ) -> None:
        self._sender_client = sender_client = make_sender_client()
        self._attempt_seconds = config.attempt_seconds
        self._registry = InFlightRegistry(config.max_in_flight)
        self._isolated_sender = IsolatedSender(make_sender_client, self._registry)
        self._claimer = Claimer(
            store, clock, sender_client, keyring, self._registry, self._isolated_sender, config
        )
        self._result_writer = ResultWriter(store, clock, sender_client, self._registry, config)
        self._give_up_at: float | None = None  # set once nothing new is begun
        self._death: SenderDied | None = None

    def run(self, stop: Flag) -> int:
        """Deliver until `stop` is set, then finish what is in flight and record it.

        Returns how many attempts had to be abandoned; their leases run out and others make them
        again.

        Raises:
            SenderDied: the sender is gone; what it had answered by then is recorded.
        """
        self._sender_client.start()
        recording = Thread(target=self._keep_recording, name="result-writer")
        recording.start()
        try:
            while not stop.is_set() and self._death is None:
                self._survives("claim", self._claimer.run_once)
        finally:
            self._give_up_at = time.monotonic() + self._attempt_seconds + RECORD_MARGIN
            while recording.is_alive():
                self._isolated_sender.run_once()
                recording.join(JOIN)
            self._isolated_sender.stop()
            self._sender_client.stop()
        abandoned = self._registry.count + self._result_writer.unrecorded
        if self._death is not None:
            self._death.abandoned = abandoned
            raise self._death
        return abandoned

    def _keep_recording(self) -> None:
        while not self._has_finished() and self._survives("record", self._result_writer.run_once):
            pass

    def _has_finished(self) -> bool:
        if self._give_up_at is None:
            return False
        in_hand = self._registry.count + self._result_writer.unrecorded
        return not in_hand or time.monotonic() >= self._give_up_at

    def _survives(self, stage: str, run_once: Callable[[], None]) -> bool:
        """Run one iteration, whatever it raises; False: the sender is gone."""
        try:
            run_once()
        except SenderDied as death:
            self._death = death
            return False
        except Exception as error:  # noqa: BLE001 - the loop's last line of defence: say it and go on
            telemetry.emit(IterationFailed(stage, error, SQL_PAUSE))
            time.sleep(SQL_PAUSE)
        return True
