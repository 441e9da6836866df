"""Builds the web from the settings."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from flask import Flask

from relay.api import create_app
from relay.api.context import AppContext
from relay.bootstrap import build_base, build_encryption
from relay.common.errors import SettingsError
from relay.housekeeping.sql import fleet
from relay.settings import Settings
from relay.telemetry.fleet import Fleet, FleetNumbers
from relay.telemetry.metrics_port import serve_metrics

WEB_RETRY_TIMEOUT = 5.0  # seconds a caller waits for a busy database before a 503


def build_web(settings: Settings) -> Flask:
    """The HTTP API."""
    base = build_base(settings, retry_timeout=WEB_RETRY_TIMEOUT)
    return create_app(AppContext(settings, base.store, base.clock, build_encryption(settings)))


def serve_fleet_metrics(settings: Settings) -> ThreadingHTTPServer | None:
    """Serve the fleet's metrics at RELAY_METRICS_ADDR, from one process for all the workers."""
    if settings.metrics_addr is None:
        return None
    base = build_base(settings, retry_timeout=WEB_RETRY_TIMEOUT)

    def read() -> FleetNumbers:
        try:
            return base.store.read(fleet.numbers, base.clock.now())
        finally:
            base.store.close()  # workers that are forked meanwhile must not share a connection

    return serve_metrics(settings.metrics_addr, Fleet(read))


@contextmanager
def exiting_on_bad_settings(code: int) -> Iterator[None]:
    """End the process with this exit code where the body finds that the settings are wrong."""
    try:
        yield
    except SettingsError as error:
        sys.stderr.write("The settings can't be used:\n" + "".join(f"  {line}\n" for line in error.problems))
        sys.exit(code)
