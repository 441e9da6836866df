"""Readiness of sockets for one thread, and a way for other threads to wake it."""

import selectors
import socket
import threading
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE  # 1 and 2, as libcurl numbers them too

Handler = Callable[[int, int], None]


class Sockets:
    """Calls `handler(fd, events)` for each watched socket that is ready; events are READ, WRITE or both.

    Everything but `wake` belongs to the one thread that calls `wait`.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken = False
        self._lock = threading.Lock()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self.watch(self._wake_reader.fileno(), READ, self._on_wake)

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Change what is waited for on a socket; no events at all forget it."""
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, handler)
        else:
            self._selector.register(fd, events, handler)

    def wait(self, timeout: float | None) -> None:
        """Wait until something is ready, so many seconds at most (None: for ever), and call the handlers."""
        for key, events in self._selector.select(timeout):
            key.data(key.fd, events)

    def wake(self) -> None:
        """Make `wait` return soon; from any thread. Many calls before it does cost one byte."""
        with self._lock:
            if not self._woken:
                self._woken = True
                self._wake_writer.send(b"w")

    def forget_all(self) -> None:
        """Watch nothing any more, but for `wake`."""
        for fd in [fd for fd in self._selector.get_map() if fd != self._wake_reader.fileno()]:
            self._selector.unregister(fd)

    def close(self) -> None:
        """Close for good. The thread that waits must have left, and nobody may `wake` any more."""
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _on_wake(self, _fd: int, _events: int) -> None:
        with self._lock:
            self._wake_reader.recv(64)
            self._woken = False
