"""A port of its own for metrics, on a thread of its own. It asks for no token: bind it in private."""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client.registry import Collector

from relay import telemetry
from relay.settings.types import split_host_port
from relay.telemetry.events import MetricsNotServed, MetricsServed
from relay.telemetry.fleet import Fleet
from relay.telemetry.metrics import registry, render


def serve_metrics(addr: str, fleet: Fleet | None = None) -> WSGIServer | None:
    """Serve the fleet's metrics, or else this process's own, at `host:port`.

    If that can't be, log it and go without (None).
    """
    host, port = split_host_port(addr) or ("", 0)
    try:
        server = _Server((host or "0.0.0.0", port), _SilentHandler)  # noqa: S104 - ":9100" asks for it
    except OSError as error:
        telemetry.emit(MetricsNotServed(addr, error.strerror or "no such address"))
        return None
    server.set_app(_app(fleet or registry))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    telemetry.emit(MetricsServed(addr, "the fleet" if fleet else "this process"))
    return server


def _app(collector: Collector) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            body, content_type = render(collector)
        except Exception:  # noqa: BLE001 - a scrape that fails says so itself, to whoever watches
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    return app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name as HTTPServer does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a scraper that hangs up is no event."""


class _SilentHandler(WSGIRequestHandler):
    timeout = 10  # seconds without a byte of a request

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Say nothing: scrapes come every few seconds."""
