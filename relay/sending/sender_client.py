"""The dispatcher's end of sending: parcels go to a process that sends them, replies come back in batches.

One reply for each parcel, unless that process dies; then `SenderDied` is raised, once all that came
before has been taken. That process is `sender`; here is its life.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import certifi

from relay.common.errors import SenderDied
from relay.endpoints.rules.addresses import Network
from relay.sending import codec
from relay.sending.frames import Frames
from relay.sending.options import EngineOptions
from relay.sending.rules.outbound import OutboundRequest, Reply
from relay.settings import names_a_setting

CHECKOUT = Path(__file__).resolve().parents[2]
CLOSING = 5.0  # seconds for the sender to see that it is over
STUCK = 10.0  # seconds without taking anything, after which a sender is given up: it turns in milliseconds
NONSENSE = "the process that sends webhooks says what is no reply"


class SenderClient:
    """Has parcels sent, and says what came of each.

    One thread may submit while another takes replies.

    Args:
        schemes: which URLs are sent to, `http` or `https`; those saved while more was allowed are
        refused. allow: networks that callbacks may reach although they are not public. ca_file:
        authorities (PEM) to trust beside the public ones. dns_servers: name servers to ask, as `ip`
        or `ip:port`; none means the system's. max_connections: how many idle connections are kept,
        beside the busy ones. connect_timeout: seconds for TCP and TLS together, inside each
        parcel's own deadline.

    Raises:
        OSError: `ca_file` can't be read.
    """

    def __init__(
        self,
        *,
        schemes: Sequence[str],
        allow: Sequence[Network],
        ca_file: Path | None,
        dns_servers: tuple[str, ...],
        max_connections: int,
        connect_timeout: float = 5.0,
    ) -> None:
        self._made_bundle = _joined_bundle(ca_file) if ca_file else None
        self._options = EngineOptions(
            schemes=tuple(schemes),
            allow=tuple(allow),
            ca_bundle=self._made_bundle or Path(certifi.where()),
            dns_servers=dns_servers,
            max_connections=max_connections,
            connect_timeout=connect_timeout,
        )
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
        """A fresh interpreter and no fork: other threads of ours may hold locks.

        It reads what strangers send, so it is given none of our settings: no database, no key.
        Signals that Ctrl-C and supervisors send to the whole group are blocked in it from its first
        moment.
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

    @property
    def pid(self) -> int | None:
        """The sender's process id."""
        return self._process.pid if self._process is not None else None

    def submit(self, *outbound_requests: OutboundRequest) -> None:
        """Hand over parcels, together: a message costs more than a parcel. The sender takes them in a moment.

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
            raise SenderDied("parcels and replies go only between start and stop")
        return self._frames

    def replies(self, retry_timeout: float) -> list[Reply]:
        """What has come; waits for the first for so many seconds at most.

        Raises:
            SenderDied: it is gone, and all that it said has been taken; or it says what is no
            reply.
        """
        if retry_timeout > 0:
            self._open_frames.wait(retry_timeout)
        try:
            came = self._open_frames.take()
        except EOFError as error:
            raise SenderDied(self._last_words()) from error
        try:
            return [reply for message in came for reply in codec.replies_in(message)]
        except ValueError as error:
            raise SenderDied(NONSENSE) from error

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
        if self._made_bundle is not None:
            self._made_bundle.unlink(missing_ok=True)


def _joined_bundle(ca_file: Path) -> Path:
    """Write the public authorities and ours into one file.

    A file and not a blob in memory: libcurl keeps a file's authorities parsed, and parses a blob's
    at every handshake.
    """
    own = ca_file.read_bytes()
    with tempfile.NamedTemporaryFile(prefix="relay-ca-", suffix=".pem", delete=False) as bundle:
        bundle.write(Path(certifi.where()).read_bytes() + b"\n" + own)
    return Path(bundle.name)
