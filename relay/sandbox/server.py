"""A small HTTP/1.1 server with keep-alive, for the local provider and the local receiver.

werkzeug's own handler closes every connection after one answer, because it can't know where an
unread body ends. Here the whole body is read before the application is called, so the connection
can stay.
"""

import os
import socket
from io import BytesIO
from wsgiref.types import WSGIApplication

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from relay.common.errors import RelayError

BACKLOG = 1024  # connections that wait to be accepted
MAX_BODY = 8 * 1024 * 1024  # bytes; the relay's webhooks end at 1 MiB


class CannotListen(RelayError):
    """An address can't be listened on; the sentence says which, why, and what to do."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such host"
        super().__init__(
            f"Can't listen on {host}:{port}: {why}."
            " Perhaps another program is there; --port takes another port."
        )


def listen(app: WSGIApplication, host: str, port: int) -> BaseWSGIServer:
    """Bind a threaded server (port 0: any; see its `port`); the caller runs `serve_forever`.

    Raises:
        CannotListen: the address is taken, or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(host, port, error) from None
    with listener:  # werkzeug, which would end the process itself at a busy port, takes a copy
        return make_server(
            host,
            listener.getsockname()[1],
            app,
            threaded=True,
            request_handler=_KeepAliveHandler,
            fd=listener.fileno(),
        )


class _KeepAliveHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds after which a connection that says nothing is closed
    disable_nagle_algorithm = True  # headers and body are two writes; Nagle would hold the second for 40 ms

    def run_wsgi(self) -> None:
        """Answer one request; anything without a length ends with its connection."""
        environ, app = self.make_environ(), self.server.app
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
            self.close_connection, app = True, Response(status=413)
        elif "wsgi.input_terminated" in environ:
            self.close_connection = True
        else:
            environ["wsgi.input"] = BytesIO(self.rfile.read(int(length)))
        with Response.from_app(app, environ) as response:
            self._start(response)
            for chunk in response.iter_encoded():
                self.wfile.write(chunk)

    def _start(self, response: Response) -> None:
        self.send_response_only(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in response.headers and response.status_code not in {204, 304}:
            self.send_header("Connection", "close")
        self.end_headers()

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Log nothing: the sandbox runs beside the relay in one terminal."""
