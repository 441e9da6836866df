"""Readiness of sockets for one thread, with few system calls.

libcurl gives a socket up at the end of each transfer and asks for it again at the next. So a socket
that is not watched stays registered with the kernel until something happens on it, or until its
number stands for a new socket: between transfers on one connection no system call is needed.
"""

import selectors
from collections.abc import Callable
from contextlib import suppress

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE  # 1 and 2, as libcurl numbers them too

Handler = Callable[[int, int], None]


class Sockets:
    """Calls `handler(fd, events)` for each watched socket that is ready for READ, WRITE or both."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._handlers: dict[int, Handler] = {}
        self._asked: dict[int, int] = {}  # of the kernel; the selector's own map costs more

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Wait for these events on a socket from now on."""
        self._handlers[fd] = handler
        asked = self._asked.get(fd)
        if asked == events:
            return
        if asked is not None:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)
        self._asked[fd] = events

    def suspend(self, fd: int) -> None:
        """Ignore a socket until it is watched again."""
        self._handlers.pop(fd, None)

    def forget(self, fd: int) -> None:
        """Drop the number of a closed socket, before a new one of that number is watched."""
        self._handlers.pop(fd, None)
        if self._asked.pop(fd, None) is not None:
            with suppress(KeyError):  # modifying a closed socket has dropped it already
                self._selector.unregister(fd)

    def wait(self, timeout: float | None) -> None:
        """Wait until a socket is ready, so many seconds at most (None: for ever); call handlers."""
        for key, events in self._selector.select(timeout):
            handler = self._handlers.get(key.fd)
            if handler is not None:
                handler(key.fd, events)
            else:
                self.forget(key.fd)

    def forget_all(self) -> None:
        """Watch nothing any more."""
        for fd in list(self._asked):
            self.forget(fd)

    def close(self) -> None:
        """Close for good."""
        self._selector.close()
