"""Whole messages over one end of a socket pair, between a dispatcher and the process that sends for it.

A message is bytes, of which `wire` knows the meaning. Nothing here waits unless it is told to: a
sender that waited for a dispatcher held up by SQL would let answers rot.
"""

import select
import socket

_HEAD = 4  # bytes that say how long a message is
_CHUNK = 1 << 18  # bytes taken at once
_BUFFER = 4 << 20  # bytes that may be under way, as far as the system allows: a whole claim, if it can be


class Frames:
    """One end; `fileno` is for whoever watches it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._socket = sock
        self._came = bytearray()
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
        """Send what the other end takes now; the rest stays. Raises OSError if the other end is gone."""
        try:
            while self._leaving:
                sent = self._socket.send(self._leaving)
                del self._leaving[:sent]
        except BlockingIOError:
            pass

    def flush_all(self, retry_timeout: float) -> bool:
        """Send everything; False where the other end took nothing for so many seconds. Raises as `flush`."""
        self.flush()
        while self._leaving:
            if not self._writable.poll(retry_timeout * 1000):
                return False
            self.flush()
        return True

    def wait(self, seconds: float | None = None) -> None:
        """Wait until something has come, or the other end is gone; for so many seconds at most, if given."""
        self._readable.poll(None if seconds is None else seconds * 1000)

    def take(self) -> list[bytes]:
        """What has come, message by message. Raises EOFError once the other end is gone and all is taken."""
        is_over = self._receive()
        messages = []
        start, most = 0, len(self._came)
        while most - start >= _HEAD:
            end = start + _HEAD + int.from_bytes(self._came[start : start + _HEAD])
            if end > most:
                break
            messages.append(bytes(self._came[start + _HEAD : end]))
            start = end
        del self._came[:start]
        if is_over and not messages:
            raise EOFError("the other end is gone")
        return messages

    def _receive(self) -> bool:
        """Read what is there; whether there will be no more."""
        try:
            while chunk := self._socket.recv(_CHUNK):
                self._came += chunk
                if len(chunk) < _CHUNK:
                    return False
        except BlockingIOError:
            return False
        except OSError:  # reset: it died with something unread
            return True
        return True

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
