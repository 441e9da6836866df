"""Starts the local ListAIJob inside the test process, and servers that answer as scripted."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import requests

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.client import ListAIJob
from relay.provider.list_ai_job.credentials import static
from relay.provider.list_ai_job.rules.signing import Credentials
from relay.sandbox.listaijob import ACCESS_KEY_ID, ACCESS_KEY_SECRET, CREDENTIALS, build
from relay.sandbox.server import listen

START: Micros = 1_782_000_000 * US_PER_SECOND


@dataclass
class Clock:
    """A clock that goes only by hand."""

    now: Micros = START

    def __call__(self) -> Micros:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * US_PER_SECOND)


@dataclass(frozen=True)
class Provider:
    """A running sandbox and its control API."""

    url: str

    def make_jobs(self, *jobs: dict[str, Any]) -> list[str]:
        reply = requests.post(f"{self.url}/sandbox/jobs", json={"jobs": jobs}, timeout=10)
        assert reply.status_code == 201, reply.text
        job_ids: list[str] = reply.json()["job_ids"]
        return job_ids

    def answer_raw(
        self, body: str, *, content_type: str = "application/json", status: int = 200, times: int = 1
    ) -> None:
        self.fault("raw", body=body, content_type=content_type, status=status, times=times)

    def fault(self, kind: str, **order: Any) -> None:
        """Let a fault stand for `times` calls, or until cleared."""
        requests.post(
            f"{self.url}/sandbox/faults", json={"kind": kind, **order}, timeout=10
        ).raise_for_status()

    def clear_faults(self) -> None:
        requests.delete(f"{self.url}/sandbox/faults", timeout=10).raise_for_status()

    def calls(self) -> dict[str, Any]:
        counts: dict[str, Any] = requests.get(f"{self.url}/sandbox/calls", timeout=10).json()
        return counts

    def client(self, **options: Any) -> ListAIJob:
        return ListAIJob(self.url, static(ACCESS_KEY_ID, ACCESS_KEY_SECRET), **options)


@contextmanager
def running_provider(
    *, clock: Callable[[], Micros] | None = None, credentials: Credentials = CREDENTIALS
) -> Iterator[Provider]:
    """Run the sandbox on a free port; with a `Clock` of the test, or the machine's."""
    app = build(credentials=credentials, clock=clock) if clock else build(credentials=credentials)
    server = listen(app, "127.0.0.1", 0)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Provider(f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Script = Callable[[socket.socket, bytes], None]
"""Gets a connection and the head of its next request; the connection closes once the peer sends no
other."""


@dataclass
class ScriptedServer:
    """A server that plays a script for every request, and remembers what it saw."""

    url: str
    over: Event = field(default_factory=Event)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up: Event = field(default_factory=Event)
    """Set once a client has closed its connection."""
    _lock: Lock = field(default_factory=Lock)

    def play(self, connection: socket.socket, script: Script) -> None:
        with self._lock:
            self.connections += 1
        with connection, suppress(OSError):
            while head := _read_head(connection):
                self.requests.append(head)
                script(connection, head)
        self.hung_up.set()


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(65_536)
        if not piece:
            return b""
        head += piece
    return head


@contextmanager
def scripted_server(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Listen on a free port and play the script on a thread per connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scheme = "https" if tls else "http"
        server = ScriptedServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            while True:
                connection, _ = listener.accept()
                if server.over.is_set():
                    connection.close()
                    return
                if tls:
                    connection = tls.wrap_socket(connection, server_side=True)
                Thread(target=server.play, args=(connection, script), daemon=True).start()

        acceptor = Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield server
        finally:
            server.over.set()
            socket.create_connection(listener.getsockname()).close()
            acceptor.join()


def reply(status: str, headers: dict[str, str], body: bytes) -> bytes:
    """An HTTP/1.1 reply with its length."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
