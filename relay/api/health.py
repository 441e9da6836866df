"""Liveness, readiness and metrics, for monitoring.

The provider's health is in the body of `/readyz` and never in its status: the API takes watches all
the same.
"""

import threading
import time

from flask import Blueprint, Response

from relay import __version__
from relay.api import totals
from relay.api.auth import require_admin
from relay.api.context import AppContext
from relay.api.responses import Document, json_response, show, write_json
from relay.common.time import rfc3339
from relay.db import counters, migrate
from relay.db.engine import Store, Tx
from relay.housekeeping.sql import fleet
from relay.polling.sql import rate_limiter
from relay.provider.registry import DEFAULT_SOURCE
from relay.telemetry.fleet import Fleet
from relay.telemetry.metrics import render

CHECK_LASTS = 1.0  # seconds that one check of the database stands for: anyone may ask
CHECKS = ("relay_readiness_checks_total", "")


def create_routes(context: AppContext) -> Blueprint:
    """The routes for monitoring; the readiness and the fleet's numbers live as long as the app."""
    routes = Blueprint("health", __name__)
    readiness = Readiness(context.store)
    fleet_reader = Fleet(lambda: context.store.read(fleet.numbers, context.clock.now()))

    @routes.get("/healthz")
    def healthz() -> Response:
        """Say that this process serves requests, and which version it is."""
        return show({"status": "ok", "version": __version__})

    @routes.get("/readyz")
    def readyz() -> Response:
        """Say whether the database is writable and migrated (else 503), and how the provider is."""
        document = readiness.document()
        return json_response(write_json(document), 200 if document["status"] == "ready" else 503)

    @routes.get("/metrics")
    def metrics() -> Response:
        """Show the fleet's metrics to the operator."""
        require_admin()
        totals.flush(context.store)
        text, content_type = render(fleet_reader)
        return Response(text, content_type=content_type)

    return routes


class Readiness:
    """Checks the database at most once a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._document: Document = {}
        self._checked_at = -CHECK_LASTS

    def document(self) -> Document:
        """The body of `/readyz`."""
        with self._lock:
            if time.monotonic() - self._checked_at >= CHECK_LASTS:
                self._document = _check(self._store)
                self._checked_at = time.monotonic()
            return self._document


def _check(store: Store) -> Document:
    try:
        migrated, provider = store.write(_try_database)
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
    state = rate_limiter.state(tx, DEFAULT_SOURCE)
    if state is None or (state.answered_at is None and state.down_since is None):
        return {"status": "unknown"}
    if state.down_since is None:
        return {"status": "ok", "answered_at": rfc3339(state.answered_at)}
    return {"status": "failing", "since": rfc3339(state.down_since), "code": state.error_code}
