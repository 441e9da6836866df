"""A webhook receiver on this machine: verifies webhooks, keeps them, and prints them for people.

`serve` is what the command `listen` runs. `Receiver` is the same inside a process, for the demo and
for tests. Its answers come from a function, so that a caller may make it fail, slow or gone.
"""

import itertools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TextIO

from werkzeug.wrappers import Request, Response

from relay.common.texts import printable
from relay.common.time import US_PER_SECOND, Micros
from relay.sandbox.server import listen
from relay.sandbox.webhook_check import explain
from relay.sending.rules.signature import ID_HEADER

MAX_SHOWN = 4000  # characters of a body that are printed


@dataclass(frozen=True, slots=True)
class Received:
    """One POST: its `webhook-id` ("" if it has none) is `id`, its time of arrival `timestamp`.

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
    """Answer with trouble that a subscriber wants to see the relay cope with.

    With `times`, only the first so many are; the others are answered as by `verified`. Without a
    `status`, only the `delay`, in seconds, is added to that answer.
    """
    numbers = itertools.count()
    headers = {} if retry_after is None else {"retry-after": retry_after}

    def answer(received: Received) -> Answer:
        usual = verified(received)
        if times is not None and next(numbers) >= times:
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
        keep: how many of the latest to keep; None keeps all.

    Raises:
        CannotListen: the address is taken, or is not this machine's.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        secret: str | None = None,
        answer: Callable[[Received], Answer] = verified,
        keep: int | None = None,
    ) -> None:
        self._secret = secret
        self._answer = answer
        self._kept: deque[Received] = deque(maxlen=keep)
        self._count_by_id: Counter[str] = Counter()
        self._came = threading.Condition()
        self._server = listen(Request.application(self._respond), host, port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self.url = f"http://{host}:{self._server.port}"
        self.count = 0  # of webhooks that came so far

    @property
    def received(self) -> list[Received]:
        """The webhooks that came so far and are kept, in order; a copy."""
        with self._came:
            return list(self._kept)

    def wait_for(self, n: int, timeout: float) -> list[Received]:
        """Wait until `n` have come, and return those that are kept.

        Raises:
            TimeoutError: fewer came within `timeout` seconds.
        """
        with self._came:
            if not self._came.wait_for(lambda: self.count >= n, timeout):
                raise TimeoutError(f"{self.count} of {n} webhooks came within {timeout:g} s")
            return list(self._kept)

    def _respond(self, request: Request) -> Response:
        """Answer a request; a POST whose length is known is a webhook."""
        if request.method != "POST":
            return Response("POST webhooks here.\n")
        if request.content_length is None:
            return Response(status=411)
        answer = self._answer(self._keep(request))
        time.sleep(answer.delay)
        return Response(answer.body, answer.status, answer.headers)

    def _keep(self, request: Request) -> Received:
        now = time.time_ns() // 1000
        headers = {name.lower(): value for name, value in request.headers.items()}
        body, path = request.get_data(), request.environ["REQUEST_URI"]
        problem = explain(self._secret, headers, body, now) if self._secret is not None else None
        msg_id = headers.get(ID_HEADER, "")
        with self._came:
            received = Received(msg_id, now, headers, body, path, problem, self._count_by_id[msg_id])
            self._kept.append(received)
            self.count += 1
            if msg_id:
                self._count_by_id[msg_id] += 1
            self._came.notify_all()
        return received

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


def serve(
    host: str, port: int, secret: str | None, out: TextIO, answer: Callable[[Received], Answer] = verified
) -> None:
    """Listen until interrupted, and print each webhook that comes, and what it was answered.

    Raises:
        CannotListen: the address is taken, or is not this machine's.
    """
    printing = threading.Lock()

    def answer_and_print(received: Received) -> Answer:
        chosen = answer(received)
        with printing:
            print(described(received, chosen, verifies=secret is not None), file=out, flush=True)
        return chosen

    with Receiver(host=host, port=port, secret=secret, answer=answer_and_print, keep=1) as receiver:
        verifying = "verifying signatures" if secret else "not verifying signatures: no secret was given"
        print(f"Listening on {receiver.url}, {verifying}. Ctrl-C ends it.", file=out, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"Stopped after {receiver.count} webhooks.", file=out, flush=True)


def described(received: Received, answer: Answer, *, verifies: bool) -> str:
    """A webhook for people: a line with its id, its signature and its answer, then its body."""
    if received.problem is not None:
        signature = f"REFUSED: {received.problem}"
    else:
        signature = "signature verified" if verifies else "signature not checked"
    clock = time.strftime("%H:%M:%S", time.localtime(received.timestamp // US_PER_SECOND))
    repeated = f", repeated: came {received.repeats} times before" if received.repeats else ""
    name = received.id or "(no webhook-id)"
    delay = f" after {answer.delay:g} s" if answer.delay else ""
    answered = f"  answered {answer.status}{delay}" if answer != Answer() else ""
    head = f"{clock}  POST {received.path}  {name}  {signature}{repeated}{answered}"
    body = [f"    {printable(line)}" for line in _indented(received.body).split("\n")]
    return "\n".join([printable(head), *body, ""])


def _indented(body: bytes) -> str:
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "backslashreplace")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}\n… ({len(body):,} bytes in all)"
