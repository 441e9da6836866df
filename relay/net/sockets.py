"""Readiness of sockets for one thread."""

import selectors
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE  # 1 and 2, as libcurl numbers them too

Handler = Callable[[int, int], None]


class Sockets:
    """Calls `handler(fd, events)` for each watched socket that is ready; events are READ, WRITE or both."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: set[int] = set()  # the selector's own map costs more to look into

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Change what is waited for on a socket; no events at all forget it."""
        if not events:
            if fd in self._watched:
                self._watched.remove(fd)
                self._selector.unregister(fd)
        elif fd in self._watched:
            self._selector.modify(fd, events, handler)
        else:
            self._selector.register(fd, events, handler)
            self._watched.add(fd)

    def wait(self, timeout: float | None) -> None:
        """Wait until something is ready, so many seconds at most (None: for ever), and call the handlers."""
        for key, events in self._selector.select(timeout):
            key.data(key.fd, events)

    def forget_all(self) -> None:
        """Watch nothing any more."""
        for fd in list(self._selector.get_map()):
            self._selector.unregister(fd)
        self._watched.clear()

    def close(self) -> None:
        """Close for good."""
        self._selector.close()
