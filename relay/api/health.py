"""For machines that watch: liveness, readiness, metrics.

The provider's health is in the body of `/readyz` and never in its status: the API takes watches all
the same.
"""

import threading
import time
from dataclasses import asdict

from flask import Blueprint, Response, current_app

from relay import telemetry
from relay.api import context, totals
from relay.api.auth import require_admin
from relay.api.context import AppContext
from relay.api.idempotent import json_response, write_json
from relay.common.time import rfc3339
from relay.db import counters, migrate
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.pagination import Document
from relay.housekeeping.sql import fleet
from relay.polling.sql import rate_limiter
from relay.telemetry import Fleet, FleetNumbers

health = Blueprint("health", __name__)

STANDS_FOR = 1.0  # seconds that a look at the database stands for: anyone may ask
CHECKS = ("relay_readiness_checks_total", "")


@health.get("/healthz")
def healthz() -> Response:
    """Say that this process serves requests, and which version it is."""
    return json_response(write_json({"status": "ok", "version": context.current().version}))


@health.get("/readyz")
def readyz() -> Response:
    """Say whether the database can be written and is migrated (503 if not), and how the provider is doing."""
    document = _readiness().look(context.current())
    return json_response(write_json(document), 200 if document["status"] == "ready" else 503)


@health.get("/metrics")
def metrics() -> Response:
    """Show the fleet's metrics to the operator."""
    require_admin()
    totals.flush(current_app)
    text, content_type = telemetry.render(_fleet())
    return Response(text, content_type=content_type)


class Readiness:
    """Looks at the database at most once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._document: Document = {}
        self._looked_at = -STANDS_FOR

    def look(self, here: AppContext) -> Document:
        """The body of `/readyz`."""
        with self._lock:
            if time.monotonic() - self._looked_at >= STANDS_FOR:
                self._document = _look(here)
                self._looked_at = time.monotonic()
            return self._document


def _look(here: AppContext) -> Document:
    try:
        migrated, provider = here.store.write(_try_database)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the database, the answer is "not ready"
        return {"status": "not ready", "database": type(error).__name__, "migrations": None, "provider": None}
    return {
        "status": "ready" if migrated else "not ready",
        "database": "ok",
        "migrations": "current" if migrated else "behind: run python -m relay migrate",
        "provider": provider,
    }


def _try_database(tx: Tx) -> tuple[bool, Document]:
    """Write a little, as a full disk or a read-only database shows only then."""
    migrated = migrate.is_current(tx)
    if not migrated:
        return False, {}
    counters.add_totals(tx, {CHECKS: 1})
    return True, _provider(tx)


def _provider(tx: Tx) -> Document:
    state = rate_limiter.state(tx)
    if state is None or (state.answered_at is None and state.down_since is None):
        return {"status": "unknown"}
    if state.down_since is None:
        return {"status": "ok", "answered_at": rfc3339(state.answered_at)}
    return {"status": "failing", "since": rfc3339(state.down_since), "code": state.error_code}


def install(here: AppContext) -> None:
    """Prepare what lives as long as the app: the readiness and the reader of the fleet's numbers."""
    current_app.extensions["relay.readiness"] = Readiness()
    numbers = telemetry.register_fleet(lambda: fleet_numbers(here.store, here.clock))
    current_app.extensions["relay.fleet"] = numbers


def fleet_numbers(store: Store, clock: Clock) -> FleetNumbers:
    """The fleet as the database has it now."""
    return FleetNumbers(**asdict(store.read(fleet.numbers, clock.now())))


def _readiness() -> Readiness:
    readiness = current_app.extensions["relay.readiness"]
    assert isinstance(readiness, Readiness)
    return readiness


def _fleet() -> Fleet:
    found = current_app.extensions["relay.fleet"]
    assert isinstance(found, Fleet)
    return found
