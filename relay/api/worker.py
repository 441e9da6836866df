"""gunicorn's threaded worker: it answers malformed requests and drops clients that stall.

gunicorn by itself quotes a malformed header in its log and in an HTML page, and waits for a stalled
body for as long as the client likes.
"""

import contextlib
import errno
import socket
import time
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from relay import telemetry
from relay.api import problems
from relay.telemetry.events import RequestFailed, RequestRefused

SILENCE = 10.0  # seconds that a client may fall silent in the middle of a request
WHOLE = 60.0  # seconds for a whole request to arrive, and again for each piece of an answer to be taken

STATUSES: dict[type[Exception], int] = {
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.UnsupportedTransferCoding: 501,
}
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)
SENTENCES = {
    400: "The request is not HTTP/1.1 that can be read.",
    414: "The request line is too long.",
    417: "Only the expectation 100-continue is known here.",
    431: "The headers are too many or too long.",
    501: "This transfer coding is not known here; send the body chunked or with its length.",
}


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no type hints
    """Refuses with problem documents that echo nothing, and frees threads from slow clients."""

    def enqueue_req(self, conn: Any) -> None:
        """Give a new connection its time-outs before a thread takes it."""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(fileno=conn.sock.detach())
        super().enqueue_req(conn)

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Answer an unreadable request, or an error outside of Flask; log its class only."""
        if isinstance(exc, errors.ParseException) and not isinstance(exc, OURS):
            status = STATUSES.get(type(exc), 400)
            telemetry.emit(RequestRefused(status, exc))
            answer = _answer(status, SENTENCES[status])
        else:
            telemetry.emit(RequestFailed(exc))
            answer = _answer(500, "The relay failed unexpectedly. Try again later.")
        with contextlib.suppress(OSError):
            client.sendall(answer)


def _answer(status: int, detail: str) -> bytes:
    phrase = HTTPStatus(status).phrase
    kind = phrase.lower().replace(" ", "-")
    body = problems.respond(status, kind, detail).get_data()
    lines = (
        f"HTTP/1.1 {status} {phrase}",
        "Connection: close",
        f"Content-Type: {problems.MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


class ClientSocket(socket.socket):
    """A client's connection, which reads as closed by the client once its request is too slow.

    gunicorn expects closed connections; it would log a time-out as an unexpected error.
    """

    _until = 0.0  # monotonic; nothing is read after it
    _is_late = False  # for good: the remainder of a late request must not be read as the next request

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001 - the signature is the socket's
        """Start the time limits: gunicorn asks for a blocking socket where a request begins."""
        if not flag:
            super().setblocking(False)
            return
        self._until = time.monotonic() + WHOLE
        self.settimeout(SILENCE)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read what arrives; nothing once the client was too slow."""
        self._is_late = self._is_late or time.monotonic() > self._until
        if not self._is_late:
            try:
                return super().recv(bufsize, flags)
            except TimeoutError:
                self._is_late = True
        return b""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all; a client that does not take it in time counts as disconnected."""
        self.settimeout(WHOLE)
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client takes no answer") from None
        finally:
            self.settimeout(SILENCE)
