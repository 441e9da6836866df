"""Whole messages over one end of a socket pair, between a dispatcher and its sender.

A message is bytes, of which `codec` knows the meaning. Only `wait` and `flush_all` wait: a sender
that waited for a dispatcher held up by SQL would take answers for time-outs.
"""

import select
import socket

_HEAD = 4  # bytes that say how long a message is
_CHUNK = 1 << 18  # bytes taken at once
_BUFFER = 4 << 20  # bytes that may be under way, as far as the system allows: a whole claim, if it can be


class Frames:
    """One end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._socket = sock
        self._received = bytearray()
        self._leaving = bytearray()
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    @property
    def is_flushed(self) -> bool:
        """Whether everything has left."""
        return not self._leaving

    def put(self, message: bytes) -> None:
        """Let a message leave with the next `flush`."""
        self._leaving += len(message).to_bytes(_HEAD)
        self._leaving += message

    def flush(self) -> None:
        """Send what the other end takes now; raises OSError if it is gone."""
        try:
            while self._leaving:
                sent = self._socket.send(self._leaving)
                del self._leaving[:sent]
        except BlockingIOError:
            pass

    def flush_all(self, timeout: float) -> bool:
        """Send everything; False if the other end took nothing for so long. Raises as `flush`."""
        self.flush()
        while self._leaving:
            if not self._writable.poll(timeout * 1000):
                return False
            self.flush()
        return True

    def wait(self, seconds: float | None = None) -> None:
        """Wait, so many seconds at most if given, for bytes or for the other end to be gone."""
        self._readable.poll(None if seconds is None else seconds * 1000)

    def take(self) -> list[bytes]:
        """The messages that came; raises EOFError once the other end is gone and all are taken."""
        is_over = self._receive()
        messages = []
        start, length = 0, len(self._received)
        while length - start >= _HEAD:
            end = start + _HEAD + int.from_bytes(self._received[start : start + _HEAD])
            if end > length:
                break
            messages.append(bytes(self._received[start + _HEAD : end]))
            start = end
        del self._received[:start]
        if is_over and not messages:
            raise EOFError("the other end is gone")
        return messages

    def _receive(self) -> bool:
        """Read the bytes that came; whether the other end is gone."""
        try:
            while chunk := self._socket.recv(_CHUNK):
                self._received += chunk
                if len(chunk) < _CHUNK:
                    return False
        except BlockingIOError:
            return False
        except OSError:  # reset: the other end died with something unread
            return True
        return True

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
