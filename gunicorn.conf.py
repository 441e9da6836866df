"""How gunicorn serves the API; the settings are read here, before there is a worker to restart."""

import os
import sys
from http.server import ThreadingHTTPServer
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

sys.path.insert(0, str(Path(__file__).resolve().parent))  # gunicorn itself adds it only after this file

from relay.api import context, totals
from relay.bootstrap.web import exiting_on_bad_settings, serve_fleet_metrics
from relay.settings import load
from relay.telemetry.log_format import configure

with exiting_on_bad_settings(2):
    _settings = load(os.environ)

configure(_settings.log_format, "web")

bind = f"0.0.0.0:{_settings.port}"
worker_class = "relay.api.worker.Worker"
workers = _settings.web_concurrency or len(os.sched_getaffinity(0))
threads = 4  # a request is a short transaction: more threads only queue at the database
timeout = 60  # seconds without a sign of life before a worker is replaced; gthread gives signs while it works
graceful_timeout = 20  # seconds for requests in flight at SIGTERM, below the 30 that platforms grant
keepalive = 5  # seconds; a batch client's next request finds its connection open
limit_request_line = 4094  # bytes; every parameter of the API is short
limit_request_fields = 64
limit_request_field_size = 8190  # bytes
preload_app = False  # each worker opens its own connections to the database
accesslog = None  # the log events say what happened; paths of callers are not ours to log
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {},  # the handlers of `configure` stay
    "loggers": {"gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True}},
    "handlers": {},
    "formatters": {},
}
if Path("/dev/shm").is_dir():  # noqa: S108 - only gunicorn's heartbeat files, which must never wait for a disk
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - the same

_port: ThreadingHTTPServer | None = None  # where the fleet's metrics are scraped


def when_ready(_server: Arbiter) -> None:
    """Serve the fleet's metrics from the one process that outlives every worker."""
    global _port  # noqa: PLW0603 - gunicorn's hooks share nothing else
    _port = serve_fleet_metrics(_settings)


def post_fork(_server: Arbiter, _worker: Worker) -> None:
    """Leave the port to the master: a worker that held it open would keep it from the next one."""
    if _port is not None:
        _port.socket.close()


def worker_exit(_server: Arbiter, worker: Worker) -> None:
    """Write the worker's totals; a worker that never came up has no application."""
    if hasattr(worker, "wsgi"):
        totals.flush(context.context_of(worker.wsgi).store)
