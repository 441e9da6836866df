"""The database's clock, by which leases are measured: machines' clocks may disagree.

`now` is the database's time as last read, plus the monotonic time since. A jump of a machine's wall
clock changes nothing, except on SQLite, whose clock it is: there `now` follows at the next reading.
Webhook timestamps come from `now` too, and receivers refuse timestamps that are minutes wrong.
"""

import os
import threading
import time
from collections.abc import Callable

from relay.common.ids import RANDOM_BYTES, make_id, make_ids
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store, Tx
from relay.db.statements import database_now

REFRESH_AFTER = 60.0  # seconds: quartz drifts by some microseconds a second, far below any lease
DISAGREEMENT_US = 5 * US_PER_SECOND  # from here on a difference of the two clocks is reported


class Clock:
    """The database's time. `on_disagreement` gets the seconds by which the machine's is far off."""

    def __init__(
        self, store: Store, on_disagreement: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        self._store = store
        self._on_disagreement = on_disagreement
        self._lock = threading.Lock()
        self._offset: Micros | None = None  # database time minus monotonic time
        self._asked_at = 0.0

    def now(self) -> Micros:
        """Microseconds since the epoch; asks the database at the start and each minute."""
        monotonic = time.monotonic()
        with self._lock:
            if self._offset is None:
                self._ask()
            elif monotonic - self._asked_at > REFRESH_AFTER:
                self._ask_if_it_answers()
            assert self._offset is not None
            return time.monotonic_ns() // 1000 + self._offset

    def new_id(self, prefix: str) -> str:
        """Make an id of now."""
        return make_id(prefix, self.now(), os.urandom(RANDOM_BYTES))

    def new_ids(self, prefix: str, count: int) -> list[str]:
        """Make many ids at once, at the cost of few."""
        return make_ids(prefix, self.now(), os.urandom(count * RANDOM_BYTES))

    def _ask_if_it_answers(self) -> None:
        """Keep the last offset while the database is away: it drifts by far less than a lease."""
        try:
            self._ask()
        except Exception:  # noqa: BLE001 - the next transaction raises the database's error
            self._asked_at = time.monotonic()

    def _ask(self) -> None:
        self._offset, difference = self._store.read(_compare)
        self._asked_at = time.monotonic()
        if abs(difference) > DISAGREEMENT_US:
            self._on_disagreement(difference / US_PER_SECOND)


def _compare(tx: Tx) -> tuple[Micros, Micros]:
    """The database's time minus the monotonic and minus the machine's.

    Only the query itself is timed: half the time of connecting and retrying would be an error of
    the clock.
    """
    before = time.monotonic_ns()
    database_time = database_now(tx)
    after = time.monotonic_ns()
    return database_time - (before + after) // 2000, database_time - time.time_ns() // 1000
