"""Sends webhooks: parcels go in by `submit`, replies come out of `results`, one for each, whatever happens.

One thread does all the sending and never touches SQL: a loop held up by a database would report answers
that were there as time-outs. What it does is in `engine`; here is its life, and the promise of one reply.
"""

import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

import certifi

from relay.core.addresses import Network
from relay.core.records import Parcel, Reply
from relay.core.states import ErrorClass
from relay.net.engine import Engine, EngineOptions
from relay.net.sockets import Sockets

STOPPED = "the dispatcher was stopped before an answer had come; it may or may not have been received"


class Courier:
    """Sends parcels, and says what came of each.

    Args:
        allow: networks that callbacks may reach although they are not public.
        ca_file: authorities (PEM) to trust beside the public ones.
        dns_servers: name servers to ask, as `ip` or `ip:port`; none means the system's.
        max_in_flight: how many parcels the caller keeps submitted and unanswered at most.
        connect_timeout: seconds for TCP and TLS together, inside each parcel's own deadline.

    Raises:
        OSError: `ca_file` can't be read.
    """

    def __init__(
        self,
        *,
        allow: Sequence[Network],
        ca_file: Path | None,
        dns_servers: tuple[str, ...],
        max_in_flight: int,
        connect_timeout: float = 5.0,
    ) -> None:
        self.results: SimpleQueue[Reply] = SimpleQueue()
        self._made_bundle = _joined_bundle(ca_file) if ca_file else None
        self._options = EngineOptions(
            allow=tuple(allow),
            ca_bundle=self._made_bundle or Path(certifi.where()),
            dns_servers=dns_servers,
            max_in_flight=max_in_flight,
            connect_timeout=connect_timeout,
        )
        self._sockets = Sockets()
        self._incoming: deque[Parcel] = deque()
        self._lock = threading.Lock()
        self._taking = False
        self._submitted = self._replied = 0
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self) -> None:
        """Start the thread; once, and after any fork."""
        self._taking = True
        self._thread.start()

    def submit(self, parcel: Parcel) -> None:
        """Hand over a parcel; see `submit_all`."""
        self.submit_all([parcel])

    def submit_all(self, parcels: Sequence[Parcel]) -> None:
        """Hand over parcels; never blocks, from any thread. Waking the courier costs more than a parcel does.

        Raises:
            RuntimeError: the courier is not started, or stopped.
        """
        with self._lock:
            if not self._taking:
                raise RuntimeError("the courier takes parcels only between start and stop")
            self._submitted += len(parcels)
            self._incoming.extend(parcels)
            self._sockets.wake()

    @property
    def in_flight(self) -> int:
        """How many parcels are submitted and not yet answered."""
        return self._submitted - self._replied

    @property
    def idle(self) -> bool:
        """Whether every parcel has its reply in `results`."""
        return self.in_flight == 0

    def stop(self, grace: float) -> None:
        """Take no more, give what is in flight so many seconds, answer the rest as `lost`, and close."""
        with self._lock:
            if self._stop_at is not None:
                return
            self._taking, self._stop_at = False, monotonic() + grace
            self._sockets.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._sockets.close()
        if self._made_bundle is not None:
            self._made_bundle.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            while not self._finished():
                self._run_engine()
        finally:
            with self._lock:
                self._taking = False
            for parcel in self._incoming:
                self._deliver(Reply(parcel.key, None, ErrorClass.LOST, STOPPED, b"", 0))

    def _run_engine(self) -> None:
        engine = Engine(self._options, self._sockets, self._deliver)
        try:
            while not self._finished():
                engine.step(self._patience())
                while self._incoming:
                    engine.begin(self._incoming.popleft())
        except Exception as surprise:  # noqa: BLE001 - the loop must go on with a new engine; the replies tell
            engine.abandon(ErrorClass.INTERNAL, f"the relay's sender failed ({type(surprise).__name__})")
        else:
            engine.abandon(ErrorClass.LOST, STOPPED)
        finally:
            engine.close()

    def _finished(self) -> bool:
        return self._stop_at is not None and (self.idle or monotonic() >= self._stop_at)

    def _patience(self) -> float | None:
        return None if self._stop_at is None else max(0.0, self._stop_at - monotonic())

    def _deliver(self, reply: Reply) -> None:
        self._replied += 1
        self.results.put(reply)


def _joined_bundle(ca_file: Path) -> Path:
    """Write the public authorities and ours into one file.

    A file and not a blob in memory: libcurl keeps a file's authorities parsed, and parses a blob's at every
    handshake.
    """
    own = ca_file.read_bytes()
    with tempfile.NamedTemporaryFile(prefix="relay-ca-", suffix=".pem", delete=False) as bundle:
        bundle.write(Path(certifi.where()).read_bytes() + b"\n" + own)
    return Path(bundle.name)
