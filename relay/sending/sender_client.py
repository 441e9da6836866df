"""The dispatcher's end of sending: starts a `sender`, hands it requests, takes its replies.

There is one reply for each request, unless the sender dies; then `SenderDied` is raised, once all
replies that came before have been taken.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import certifi

from relay.common.errors import SenderDied
from relay.sending import codec
from relay.sending.frames import Frames
from relay.sending.rules.outbound import OutboundRequest, Reply, SenderOptions
from relay.settings import names_a_setting

CHECKOUT = Path(__file__).resolve().parents[2]
CLOSING = 5.0  # seconds for the sender to see that its dispatcher is gone
STUCK = 10.0  # seconds without reading, after which a sender is given up: it reads every few milliseconds


class SenderClient:
    """Has requests sent by another process. One thread may submit while another takes replies."""

    def __init__(self, options: SenderOptions) -> None:
        self._own_bundle = _joined_bundle(options.ca_file) if options.ca_file else None
        self._options = replace(options, ca_file=self._own_bundle)
        self._frames: Frames | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the sender; once."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._launch(theirs)
        self._frames = Frames(ours)
        self._put(codec.options_out(self._options))

    def _launch(self, theirs: socket.socket) -> None:
        """Start a fresh interpreter, not a fork: other threads of this process may hold locks.

        The sender reads strangers' answers, so it gets no setting: no database, no key. Signals
        that Ctrl-C and supervisors send to the whole group are blocked in it from its first moment.
        """
        paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environ = {name: value for name, value in os.environ.items() if not names_a_setting(name)}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "relay.sending.sender", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environ | {"PYTHONPATH": os.pathsep.join(paths)},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def submit(self, *outbound_requests: OutboundRequest) -> None:
        """Hand over requests, together: a message costs more than a request.

        Raises:
            SenderDied: it is gone, or takes nothing.
        """
        self._put(codec.requests_out(outbound_requests))

    def _put(self, message: bytes) -> None:
        frames = self._open_frames
        frames.put(message)
        try:
            is_taken = frames.flush_all(STUCK)
        except OSError as error:
            raise SenderDied(self._last_words()) from error
        if not is_taken:
            raise SenderDied(f"the process that sends webhooks took nothing for {STUCK:g} s")

    @property
    def _open_frames(self) -> Frames:
        if self._frames is None:
            raise SenderDied("requests and replies go only between start and stop")
        return self._frames

    def replies(self, timeout: float) -> list[Reply]:
        """The replies that came; waits for the first for so many seconds at most.

        Raises:
            SenderDied: it is gone and all its replies are taken, or it says what is no reply.
        """
        if timeout > 0:
            self._open_frames.wait(timeout)
        try:
            messages = self._open_frames.take()
        except EOFError as error:
            raise SenderDied(self._last_words()) from error
        try:
            return [reply for message in messages for reply in codec.replies_in(message)]
        except ValueError as error:
            raise SenderDied("the process that sends webhooks says what is no reply") from error

    def _last_words(self) -> str:
        code = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(CLOSING)
        return f"the process that sends webhooks ended (exit code {code})"

    def stop(self) -> None:
        """End the sender, and with it whatever is under way."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        if self._process is not None:
            try:
                self._process.wait(CLOSING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._own_bundle is not None:
            self._own_bundle.unlink(missing_ok=True)


def _joined_bundle(ca_file: Path) -> Path:
    """Write the public authorities and our own into one file.

    It is a file and not a blob in memory as libcurl parses a blob's authorities at every handshake.
    """
    own = ca_file.read_bytes()
    with tempfile.NamedTemporaryFile(prefix="relay-ca-", suffix=".pem", delete=False) as bundle:
        bundle.write(Path(certifi.where()).read_bytes() + b"\n" + own)
    return Path(bundle.name)
