"""A port of its own for metrics, on a thread of its own. It asks for no token: bind it in private.

Not `prometheus_client.start_http_server`: it answers a failing read with 500 instead of 503, and
prints the error, which may quote the database's URL, and a trace for each scraper that hangs up.
"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from prometheus_client.registry import Collector

from relay import telemetry
from relay.settings.types import split_host_port
from relay.telemetry.events import MetricsNotServed, MetricsServed
from relay.telemetry.fleet import Fleet
from relay.telemetry.metrics import registry, render


def serve_metrics(addr: str, fleet: Fleet | None = None) -> ThreadingHTTPServer | None:
    """Serve the fleet's metrics, or else this process's own, at `host:port`.

    If that can't be, log it and go without (None).
    """
    host, port = split_host_port(addr) or ("", 0)
    try:
        server = _Server(host or "0.0.0.0", port, fleet or registry)  # noqa: S104 - ":9100" asks for it
    except OSError as error:
        telemetry.emit(MetricsNotServed(addr, error.strerror or "no such address"))
        return None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    telemetry.emit(MetricsServed(addr, "this process" if fleet is None else "the fleet"))
    return server


class _Server(ThreadingHTTPServer):
    def __init__(self, host: str, port: int, collector: Collector) -> None:
        self.collector = collector
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name as HTTPServer does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: a scraper that hangs up is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds without a byte of a request

    def do_GET(self) -> None:
        try:
            body, content_type = render(self.server.collector)
            self.send_response(200)
            self.send_header("Content-Type", content_type)
        except Exception:  # noqa: BLE001 - a scrape that fails says so itself, to whoever watches
            body = b""
            self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Log nothing: scrapes come every few seconds."""
