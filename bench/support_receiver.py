"""A webhook receiver far cheaper than any sender: one thread on raw epoll, in a process of its own.

How it behaves is in the path: `/0/…` is answered at once, `/50/…` after 50 ms, `/never/…` not at
all. It listens on many addresses of 127.0.0.0/8 and one port, so that endpoints can be hosts of
their own without any name. Run as a program it serves until its stdin ends; `report` and `reset` on
stdin ask it for figures.
"""

import argparse
import heapq
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Self

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
BACKLOG = 4096
CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)")  # as libcurl and `requests` write it
WEBHOOK_ID = re.compile(rb"\r\nwebhook-id: *(\S+)", re.IGNORECASE)
NEVER = -1


def host(number: int) -> str:
    """The address of the receiver's host with this number: 127.1.0.1 and so on."""
    high, low = divmod(number, 250)
    return f"127.1.{high}.{low + 1}"


class Server:
    """Owns the sockets and what has arrived."""

    def __init__(self, hosts: int, *, record: bool) -> None:
        self._epoll = select.epoll()
        self._record = record
        self._listeners: dict[int, socket.socket] = {}
        self._connections: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._answers: list[tuple[int, int, socket.socket]] = []  # monotonic ns, ticket, connection
        self._ticket = count()
        self._delays: dict[bytes, int] = {}
        self.reset()
        self.port = 0
        for number in range(hosts):
            self._listen(host(number))
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)

    def reset(self) -> None:
        """Forget what has arrived."""
        self.count = 0
        self._paths: Counter[bytes] = Counter()
        self._arrivals: list[tuple[str, int]] = []

    def report(self) -> dict[str, Any]:
        """The arrivals since the start or last reset; times are microseconds since the epoch."""
        return {
            "count": self.count,
            "connections": len(self._connections),
            "paths": {path.decode("latin-1"): number for path, number in self._paths.items()},
            "arrivals": self._arrivals,
        }

    def serve(self) -> None:
        """Answer until stdin ends."""
        while True:
            for fd, _ in self._epoll.poll(self._retry_timeout()):
                if fd in self._connections:
                    self._read(fd)
                elif fd in self._listeners:
                    self._accept(self._listeners[fd])
                elif not self._obey():
                    return
            self._answer_due()

    def _listen(self, address: str) -> None:
        listener = socket.create_server((address, self.port), backlog=BACKLOG)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listeners[listener.fileno()] = listener
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections[connection.fileno()] = connection
                self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, fd: int) -> None:
        connection = self._connections[fd]
        try:
            data = connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            del self._connections[fd]
            self._partial.pop(fd, None)
            connection.close()
            return
        if self._partial:
            data = self._partial.pop(fd, b"") + data
        rest = self._take(connection, data)
        if rest:
            self._partial[fd] = rest

    def _take(self, connection: socket.socket, data: bytes) -> bytes:
        """Take the whole requests off the front; what is left of the data."""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            length = CONTENT_LENGTH.search(data, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(data) < whole:
                break
            start = data.find(b" ") + 1
            self._arrived(connection, data[start : data.find(b" ", start)], data, end)
            data = data[whole:] if len(data) > whole else b""
        return data

    def _arrived(self, connection: socket.socket, path: bytes, request: bytes, end: int) -> None:
        """Take one request: its headers end at `end`."""
        self.count += 1
        self._paths[path] += 1
        if self._record and (found := WEBHOOK_ID.search(request, 0, end)):
            self._arrivals.append((found[1].decode(), time.time_ns() // 1000))
        delay = self._delay(path)
        if delay == 0:
            self._answer(connection)
        elif delay != NEVER:
            heapq.heappush(self._answers, (time.monotonic_ns() + delay, next(self._ticket), connection))

    def _delay(self, path: bytes) -> int:
        """Nanoseconds until the answer."""
        delay = self._delays.get(path)
        if delay is None:
            said = path.split(b"/")[1]
            delay = self._delays[path] = NEVER if said == b"never" else int(said) * 1_000_000
        return delay

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):  # it may have gone, and a hundred bytes always fit
            connection.send(ANSWER)

    def _answer_due(self) -> None:
        now = time.monotonic_ns()
        while self._answers and self._answers[0][0] <= now:
            self._answer(heapq.heappop(self._answers)[2])

    def _retry_timeout(self) -> float:
        return max(self._answers[0][0] - time.monotonic_ns(), 0) / 1e9 if self._answers else -1

    def _obey(self) -> bool:
        match sys.stdin.readline().strip():
            case "report":
                print(json.dumps(self.report()), flush=True)
            case "reset":
                self.reset()
                print("{}", flush=True)
            case _:
                return False
        return True


@dataclass
class Receiver:
    """The receiver as its user sees it: a process, from `with` to its end."""

    hosts: int = 1
    record: bool = False

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.support_receiver", "--hosts", str(self.hosts)]
        self.process = subprocess.Popen(
            [*command, *(["--record"] if self.record else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._hear()["port"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def url(self, number: int, behaviour: str) -> str:
        """The URL of endpoint `number`, on a host of its own as far as there are hosts."""
        return f"http://{host(number % self.hosts)}:{self.port}/{behaviour}/e{number}"

    def reset(self) -> None:
        """Forget what has arrived."""
        self._ask("reset")

    def report(self) -> dict[str, Any]:
        """See `Server.report`."""
        return self._ask("report")

    def _ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        heard: dict[str, Any] = json.loads(self.process.stdout.readline())
        return heard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument(
        "--record", action="store_true", help="keep the time at which each webhook-id arrived"
    )
    arguments = parser.parse_args()
    if hasattr(os, "SCHED_BATCH"):
        # It stands for other machines: what arrives must not take the sender's processor in
        # mid-work.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    server = Server(arguments.hosts, record=arguments.record)
    print(json.dumps({"port": server.port}), flush=True)
    server.serve()


if __name__ == "__main__":
    main()
