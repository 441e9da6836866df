"""Totals: writes what this process has counted to SQL, where the fleet's metrics are read from.

This is done every few seconds, after an answer has gone out, so that no caller waits for it, and
when the process ends.
"""

import threading
import time

from flask import Flask, Response

from relay import telemetry
from relay.db.engine import Store
from relay.housekeeping.housekeeper import flush_totals
from relay.telemetry.events import IterationFailed

EVERY = 5.0  # seconds


class PeriodicFlush:
    """Flushes into one database, at most every few seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._due_at = 0.0

    def flush_if_due(self) -> None:
        """Flush, unless that was done just now or is being done."""
        with self._lock:
            if time.monotonic() < self._due_at:
                return
            self._due_at = time.monotonic() + EVERY
        flush(self._store)


def flush(store: Store) -> None:
    """Flush now; totals that can't be written are kept."""
    try:
        flush_totals(store)
    except Exception as error:  # noqa: BLE001 - the answer has gone out: no caller is left to raise it to
        telemetry.emit(IterationFailed("totals", error, EVERY))


def install(app: Flask, store: Store) -> None:
    """Have every answer followed by a flush if one is due."""
    periodic = PeriodicFlush(store)

    def follow(response: Response) -> Response:
        response.call_on_close(periodic.flush_if_due)
        return response

    app.after_request(follow)
