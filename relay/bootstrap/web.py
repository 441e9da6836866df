"""Builds the web from the settings."""

from wsgiref.simple_server import WSGIServer

from flask import Flask

from relay import __version__
from relay.api import AppContext, create_app
from relay.bootstrap import build_clock, build_encryption, build_store
from relay.housekeeping.sql import fleet
from relay.settings import Settings
from relay.telemetry.fleet import Fleet, FleetNumbers
from relay.telemetry.metrics_port import serve_metrics

WEB_RETRY_TIMEOUT = 5.0  # seconds a caller waits for a busy database before a 503


def build_web(settings: Settings) -> Flask:
    """The HTTP API."""
    store = build_store(settings, retry_timeout=WEB_RETRY_TIMEOUT)
    return create_app(
        AppContext(
            settings=settings,
            store=store,
            clock=build_clock(store),
            encryption=build_encryption(settings),
            version=__version__,
        )
    )


def serve_fleet_metrics(settings: Settings) -> WSGIServer | None:
    """Serve the fleet's metrics at RELAY_METRICS_ADDR; one process does so for all workers of a web."""
    if settings.metrics_addr is None:
        return None
    store = build_store(settings, retry_timeout=WEB_RETRY_TIMEOUT)
    clock = build_clock(store)

    def read() -> FleetNumbers:
        try:
            return store.read(fleet.numbers, clock.now())
        finally:
            store.close()  # workers that are forked meanwhile must not share a connection

    return serve_metrics(settings.metrics_addr, Fleet(read))
