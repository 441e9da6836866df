"""A small HTTP/1.1 server with keep-alive for the local stand-ins.

werkzeug's own handler closes every connection after one answer, because it can't tell where an
unread body ends. Here the whole body is read before the application is called, so the connection
can stay.
"""

import os
import socket
from io import BytesIO

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from relay.common.errors import RelayError

BACKLOG = 128  # connections that wait to be taken


class CannotListen(RelayError):
    """An address can't be listened on; the sentence says which, why, and what to do."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such host"
        super().__init__(
            f"Can't listen on {host}:{port}: {why}."
            " Perhaps another program is there; --port takes another port."
        )


def listen(app: Flask, host: str, port: int) -> BaseWSGIServer:
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
    disable_nagle_algorithm = True  # headers and body are two writes; Nagle would hold the second for 40 ms

    def run_wsgi(self) -> None:
        """Answer one request; anything without a length ends with its connection."""
        environ = self.make_environ()
        if "wsgi.input_terminated" in environ:
            self.close_connection = True
        else:
            environ["wsgi.input"] = BytesIO(self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0)))
        with Response.from_app(self.server.app, environ) as response:
            self._start(response)
            for chunk in response.iter_encoded():
                self.wfile.write(chunk)

    def _start(self, response: Response) -> None:
        self.send_response_only(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in response.headers:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the sandbox runs beside the relay in one terminal."""
