"""A receiver of bare sockets: each connection runs a script that may do what a hostile peer can."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Script = Callable[["Connection"], None]


class Connection:
    """One accepted connection, as a script sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._socket = sock
        self._buffer = b""
        self._stopping = stopping

    def read_request(self) -> bytes | None:
        """The next whole request, headers and body; None when the peer has gone."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, _ = self._buffer.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        whole = len(head) + 4 + (int(lengths[0].split(b":")[1]) if lengths else 0)
        while len(self._buffer) < whole:
            if not self._more():
                return None
        request, self._buffer = self._buffer[:whole], self._buffer[whole:]
        return request

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def drip(self, data: bytes, every: float) -> None:
        """Send byte by byte, so many seconds apart, until the test ends or the peer hangs up."""
        for byte in data:
            self.send(bytes([byte]))
            if self._stopping.wait(every):
                return

    def flood(self, data: bytes) -> None:
        """Send the same bytes until the test ends or the peer hangs up."""
        while not self._stopping.is_set():
            self.send(data)

    def hang(self) -> None:
        """Say nothing more until the test ends."""
        self._stopping.wait()

    def shut(self) -> None:
        """Close with FIN."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def say_goodbye(self) -> None:
        """End TLS with close_notify, which many servers leave out; nothing over plain HTTP."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.unwrap()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _more(self) -> bool:
        data = self._socket.recv(65536)
        self._buffer += data
        return bool(data)


class Chaos:
    """Runs `script` on each connection; counts connections and keeps every whole request."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._script = script
        self._tls = tls
        self._host = f"[{host}]" if ":" in host else host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=1024)
        self._stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.connections = 0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self.port}/hook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, accepted: socket.socket) -> None:
        # Otherwise Nagle's algorithm keeps an answer back, and a reset throws it away.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), accepted, self._secured(accepted) as sock:
            self._connections.add(sock)
            try:
                self._script(Connection(sock, self._stopping))
            finally:
                self._connections.discard(sock)

    def _secured(self, sock: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(sock, server_side=True) if self._tls else sock


def answering(answer: bytes) -> Script:
    """A script that sends the same bytes to each request and keeps the connection."""

    def script(connection: Connection) -> None:
        while connection.read_request() is not None:
            connection.send(answer)

    return script


def once(act: Callable[[Connection], None]) -> Script:
    """A script that reads one request, acts, and closes."""

    def script(connection: Connection) -> None:
        if connection.read_request() is not None:
            act(connection)

    return script
