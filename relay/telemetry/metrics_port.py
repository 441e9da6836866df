"""A port of its own for metrics, on a thread of its own. It asks for no token: bind it in private."""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from relay.settings.types import split_host_port

Render = Callable[[], tuple[bytes, str]]  # the body and its content type; may raise


def serve(addr: str, render: Render) -> WSGIServer:
    """Answer every GET at `host:port` with what `render` returns, or with 503 where it raises.

    Raises:
        OSError: the address is taken, or is not this machine's.
    """
    host, port = split_host_port(addr) or ("", 0)
    server = _Server((host or "0.0.0.0", port), _SilentHandler)  # noqa: S104 - ":9100" asks for it
    server.set_app(_app(render))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def _app(render: Render) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        try:
            body, content_type = render()
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
