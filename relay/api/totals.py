"""Writing what this process has counted to SQL, where the fleet's metrics are read from.

It is done every few seconds, after an answer has gone out, so that no caller waits for it; and at
the end.
"""

import threading
import time
from typing import cast

from flask import Flask, Response

from relay import telemetry
from relay.db.engine import Store
from relay.housekeeping.housekeeper import flush_totals

EVERY = 5.0  # seconds
_EXTENSION = "relay.totals"


class Totals:
    """Flushes into one store, at most every few seconds unless told to."""

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
        self.flush()

    def flush(self) -> None:
        """Flush now; what can't be written is kept."""
        try:
            flush_totals(self._store)
        except Exception as error:  # noqa: BLE001 - the answer has gone out: nobody is left to raise it to
            telemetry.iteration_failed("totals", error, EVERY)


def install(app: Flask, store: Store) -> None:
    """Have every answer followed by a flush if one is due."""
    totals = Totals(store)
    app.extensions[_EXTENSION] = totals

    def follow(response: Response) -> Response:
        response.call_on_close(totals.flush_if_due)
        return response

    app.after_request(follow)


def flush(app: Flask) -> None:
    """Write what the app's process has counted since the last time."""
    cast("Totals", app.extensions[_EXTENSION]).flush()
