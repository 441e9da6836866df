"""The process that sends for a dispatcher: requests come over a socket pair, replies go back.

It is a process of its own because two threads of one interpreter that both work all the time spend
as much on handing over its lock as on the work (measured: half of all processor time), and because
a loop that is held up takes answers that came for time-outs. It never touches SQL, holds nothing
that must last, and ends with the dispatcher that started it, however that ends. `engine` does the
sending.
"""

import resource
import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress

from relay.common.errors import whereabouts
from relay.common.states import ErrorClass
from relay.sending import codec
from relay.sending.engine import Engine
from relay.sending.frames import Frames
from relay.sending.garbage import collect_garbage_seldom
from relay.sending.rules.outbound import OutboundRequest, Reply, SenderOptions
from relay.sending.sockets import READ, WRITE, Sockets

# After so many new transfers the answered ones are ended. So few are open, and their handles and
# connections stay in the processor's cache (with a thousand open, each costs a quarter more).
BEGIN_AT_ONCE = 32


class Sender:
    """Serves the dispatcher at the other end of `frames`, until that end is closed."""

    def __init__(self, options: SenderOptions, frames: Frames, early: Iterable[bytes]) -> None:
        self._options = options
        self._frames = frames
        self._sockets = Sockets()
        self._received = deque(early)
        self._next: deque[OutboundRequest] = deque()
        self._replies: list[Reply] = []
        self._is_over = False

    def run(self) -> None:
        """Send until the dispatcher is gone; an unexpected error costs only what is under way."""
        while not self._is_over:
            self._listen()
            self._run_engine()
        self._sockets.close()

    def _run_engine(self) -> None:
        engine = Engine(self._options, self._sockets, self._replies.append)
        try:
            while not self._is_over:
                for request in self._some_requests():
                    engine.begin(request)
                self._hand_back()
                engine.run_once(wait=not (self._next or self._received))
        except Exception as error:  # noqa: BLE001 - go on with a new engine; the replies hold the error
            engine.abandon(ErrorClass.INTERNAL, f"the relay's sender failed ({whereabouts(error)})")
            self._hand_back()
        finally:
            engine.close()

    def _some_requests(self) -> Iterator[OutboundRequest]:
        """Unpack the next few only now: a thousand unpacked ones overflow a processor's cache."""
        while self._received and len(self._next) < BEGIN_AT_ONCE:
            self._next.extend(codec.requests_in(self._received.popleft()))
        for _ in range(min(BEGIN_AT_ONCE, len(self._next))):
            yield self._next.popleft()

    def _listen(self) -> None:
        events = READ if self._frames.is_flushed else READ | WRITE
        self._sockets.watch(self._frames.fileno(), events, self._on_ready)

    def _on_ready(self, _fd: int, events: int) -> None:
        if events & READ:
            self._take()
        if events & WRITE:
            self._flush()

    def _take(self) -> None:
        try:
            self._received.extend(self._frames.take())
        except EOFError:
            self._is_over = True

    def _hand_back(self) -> None:
        """Hand over the replies of one iteration, as far as the dispatcher takes them now."""
        if self._replies:
            self._frames.put(codec.replies_out(self._replies))
            self._replies.clear()
            self._flush()

    def _flush(self) -> None:
        try:
            self._frames.flush()
        except OSError:
            self._is_over = True
        else:
            self._listen()


def serve(sock: socket.socket) -> None:
    """Serve at one end of a socket pair; the engine's options are its first message."""
    with sock:
        frames = Frames(sock)
        messages: list[bytes] = []
        try:
            while not messages:
                frames.wait()
                messages = frames.take()
        except EOFError:
            return  # the dispatcher ended before it had begun
        options, *early = messages
        Sender(codec.options_in(options), frames, early).run()


def main() -> None:
    """Serve the socket whose descriptor is the only argument, until the dispatcher ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS refuses "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # connections are files
    collect_garbage_seldom()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
