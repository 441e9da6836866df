"""A `requests` session with one kept-alive connection that another thread can cut at any moment.

The handle is a duplicate of the socket, made before TLS: shutting it down ends handshake, headers
and body alike, whatever object of `ssl`, `http.client` or `urllib3` is reading at that moment.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_PIECE = 65_536  # bytes of a body taken at once


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. No repr shows it: URL, headers and body may hold signatures and secrets."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    method: str = "GET"
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response, header names in lower case; `body` is None if it was too long."""

    status: int
    headers: dict[str, str]
    body: bytes | None


class CancellableSession:
    """A session without environment (proxies, netrc), redirects, retries or a second connection."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._lock = Lock()
        self._connection: HTTPConnection | None = None
        self._handle: socket.socket | None = None
        self._is_cut = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self))

    def fetch(self, request: Request, *, seconds: float, max_bytes: int) -> Response:
        """Send a request and read the whole response; `seconds` bounds each read, not the whole.

        Raises `requests.RequestException`; so does a fetch that is cut.
        """
        with self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            timeout=seconds,
            stream=True,
            allow_redirects=False,
        ) as response:
            body = _take(response, max_bytes)
        self._let_go_if_closed()
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, lowered, body)

    def hold(self, connection: HTTPConnection, sock: socket.socket) -> None:
        """Keep a handle on a socket just connected; in a session already cut, refuse it."""
        with self._lock:
            if self._is_cut:
                sock.close()
                raise ConnectionAbortedError("The call was given up while it connected.")
            self._drop_handle()
            self._connection, self._handle = connection, sock.dup()

    def cut(self) -> None:
        """End the call that is under way, and the session."""
        with self._lock:
            self._is_cut = True
            if self._handle is not None:
                with suppress(OSError):  # the peer may have ended it first
                    self._handle.shutdown(socket.SHUT_RDWR)
            self._drop_handle()
        self._session.close()

    def _let_go_if_closed(self) -> None:
        """Drop the handle of a connection that is over: while it is held, the peer sees no end."""
        with self._lock:
            if self._connection is not None and self._connection.is_closed:
                self._drop_handle()

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._connection = self._handle = None


def _take(response: requests.Response, max_bytes: int) -> bytes | None:
    body = bytearray()
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > max_bytes:
            return None
    return bytes(body)


class _Adapter(HTTPAdapter):
    """Makes connections that hand their sockets to the session."""

    def __init__(self, session: CancellableSession) -> None:
        self._session = session
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._session)


def _pool_classes(session: CancellableSession) -> dict[str, type[HTTPConnectionPool]]:
    """The pools of `urllib3`, whose connections hand their sockets to the session."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            session.hold(self, sock)
            return sock

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            session.hold(self, sock)
            return sock

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}
