"""A webhook receiver on this machine: verifies what comes, keeps it, and prints it for people.

`serve` is what the command `listen` runs. `Receiver` is the same inside a process, for the demo and
for tests. What it answers is one function, so that a caller may make it fail, slow or gone.
"""

import itertools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Self, TextIO

from relay.common.texts import printable
from relay.common.time import US_PER_SECOND, Micros
from relay.sandbox.server import CannotListen
from relay.sandbox.webhook_check import explain
from relay.sending.rules.signature import ID_HEADER

MAX_BODY = 8 * 1024 * 1024  # bytes; the relay's webhooks end at 1 MiB
MAX_SHOWN = 4000  # characters of a body that are printed
IDLE_SECONDS = 60  # a kept-alive connection that says nothing is closed after this


@dataclass(frozen=True, slots=True)
class Received:
    """One POST: `id` is its `webhook-id` ("" if it has none), `timestamp` when it came, in microseconds.

    Header names are in lower case. `problem` says why its signature fails; None if it verifies, or
    if the receiver knows no secret. `repeats` counts how often its id came before.
    """

    id: str
    timestamp: Micros
    headers: Mapping[str, str]
    body: bytes
    path: str
    problem: str | None
    repeats: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: after `delay` seconds, this status, these headers and this body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0


def verified(received: Received) -> Answer:
    """Answer 200, or 400 with the reason if the signature fails."""
    if received.problem is None:
        return Answer()
    return Answer(400, {"content-type": "text/plain; charset=utf-8"}, received.problem.encode())


def rehearsal(
    *,
    status: int | None = None,
    delay: float = 0.0,
    retry_after: str | None = None,
    times: int | None = None,
) -> Callable[[Received], Answer]:
    """Answer in a way that a subscriber wants to see the relay cope with.

    With `times`, only the first so many; the others are answered as by `verified`. So is everything
    without a `status`, but for the `delay`, in seconds.
    """
    turns = itertools.count()
    headers = {} if retry_after is None else {"retry-after": retry_after}

    def answer(received: Received) -> Answer:
        usual = verified(received)
        if times is not None and next(turns) >= times:
            return usual
        return replace(usual, delay=delay) if status is None else Answer(status, headers, delay=delay)

    return answer


class Receiver:
    """A receiver in this process, on threads of its own, from `start` (or `with`) to `stop`.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one, which `url` then names.
        secret: `whsec_…` to verify with; None verifies nothing.
        answer: what to answer to each.
        on_received: called with each, in the thread that received it, before it is answered.
        keep: how many of the latest to keep; None keeps all.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        secret: str | None = None,
        answer: Callable[[Received], Answer] = verified,
        on_received: Callable[[Received], None] | None = None,
        keep: int | None = None,
    ) -> None:
        self._secret = secret
        self._answer = answer
        self._on_received = on_received
        self._record: deque[Received] = deque(maxlen=keep)
        self._times_seen: Counter[str] = Counter()
        self._count = 0
        self._came = threading.Condition()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, without a path: `http://127.0.0.1:PORT`."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def count(self) -> int:
        """How many came so far."""
        return self._count

    @property
    def received(self) -> list[Received]:
        """What came so far and is kept, in order; a copy."""
        with self._came:
            return list(self._record)

    def wait_for(self, n: int, timeout: float) -> list[Received]:
        """Wait until `n` have come, and return what came.

        Raises:
            TimeoutError: fewer came within `timeout` seconds.
        """
        with self._came:
            if not self._came.wait_for(lambda: self._count >= n, timeout):
                raise TimeoutError(f"{self._count} of {n} webhooks came within {timeout:g} s")
            return list(self._record)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Keep what came, and say what to answer."""
        now = time.time_ns() // 1000
        problem = explain(self._secret, headers, body, now) if self._secret is not None else None
        msg_id = headers.get(ID_HEADER, "")
        with self._came:
            received = Received(msg_id, now, headers, body, path, problem, self._times_seen[msg_id])
            self._record.append(received)
            self._count += 1
            if msg_id:
                self._times_seen[msg_id] += 1
            self._came.notify_all()
        if self._on_received is not None:
            self._on_received(received)
        return self._answer(received)

    def start(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; what is being answered may still end."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this machine's name as HTTPServer does."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a sender that hangs up is no event for the person who watches."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "relay-listen"
    sys_version = ""
    timeout = IDLE_SECONDS
    wbufsize = -1  # one write for status, headers and body
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
            self.close_connection = True
            self._write(Answer(413 if length else 411))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._write(self.server.receiver.take(self.path, headers, self.rfile.read(int(length))))

    def do_GET(self) -> None:
        self._write(Answer(body=b"POST webhooks here.\n"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Say nothing; `on_received` tells."""

    def _write(self, answer: Answer) -> None:
        if answer.delay:
            time.sleep(answer.delay)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


def serve(
    host: str, port: int, secret: str | None, out: TextIO, answer: Callable[[Received], Answer] = verified
) -> None:
    """Listen until interrupted, and print each webhook that comes, and what it was answered.

    Raises:
        CannotListen: the address is taken, or is not this machine's.
    """
    printing = threading.Lock()

    def answer_and_show(received: Received) -> Answer:
        chosen = answer(received)
        with printing:
            print(described(received, chosen, verifies=secret is not None), file=out, flush=True)
        return chosen

    try:
        receiver = Receiver(host=host, port=port, secret=secret, answer=answer_and_show, keep=1)
    except OSError as error:
        raise CannotListen(host, port, error) from None
    with receiver:
        verifying = "verifying signatures" if secret else "not verifying signatures: no secret was given"
        print(f"Listening on {receiver.url}, {verifying}. Ctrl-C ends it.", file=out, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"Stopped after {receiver.count} webhooks.", file=out, flush=True)


def described(received: Received, answer: Answer, *, verifies: bool) -> str:
    """One webhook for people: a line of what and how it is and what it is answered, then its body."""
    if received.problem is not None:
        verdict = f"REFUSED: {received.problem}"
    else:
        verdict = "signature verified" if verifies else "signature not checked"
    clock = time.strftime("%H:%M:%S", time.localtime(received.timestamp // US_PER_SECOND))
    repeated = f", repeated: came {received.repeats} times before" if received.repeats else ""
    name = received.id or "(no webhook-id)"
    answered = f"  answered {answer.status}{_after(answer.delay)}" if answer != Answer() else ""
    head = f"{clock}  POST {received.path}  {name}  {verdict}{repeated}{answered}"
    body = [f"    {printable(line)}" for line in _pretty(received.body).split("\n")]
    return "\n".join([printable(head), *body, ""])


def _after(delay: float) -> str:
    return f" after {delay:g} s" if delay else ""


def _pretty(body: bytes) -> str:
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}\n… ({len(body):,} bytes in all)"
