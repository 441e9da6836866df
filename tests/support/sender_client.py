"""Sends single requests through a real sender client, to receivers on loopback."""

import os
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from threading import Thread
from time import monotonic

import trustme

from relay.common.events import TEST
from relay.endpoints.rules.addresses import Network
from relay.sending import sender
from relay.sending.rules.outbound import OutboundRequest, Reply, SenderOptions
from relay.sending.rules.webhook import Notice
from relay.sending.sender_client import SenderClient
from tests.support.chaos import Chaos, Script
from tests.support.forks import STDERR, STDOUT, Forked

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEY = b"k" * 32


class OneByOne(SenderClient):
    """A sender client whose replies can be had one by one."""

    _taken: deque[Reply]

    def start(self) -> None:
        self._taken = deque()
        super().start()

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def reply(self, timeout: float = 30) -> Reply:
        give_up_at = monotonic() + timeout
        while not self._taken:
            left = give_up_at - monotonic()
            if left < 0:
                raise TimeoutError(f"no reply within {timeout:g} s")
            self._taken.extend(self.replies(left))
        return self._taken.popleft()


class Forking(OneByOne):
    """A sender client whose sender is forked, with its code imported: it starts at once."""

    def _launch(self, theirs: socket.socket) -> None:
        command = ["relay.sending.sender", "3"]
        forked = Forked(command, os.environ, STDOUT, STDERR, theirs.fileno())
        self._process = forked  # type: ignore[assignment] # it does what Popen does


class InThisProcess(OneByOne):
    """A sender client whose sender is a thread of the tests, so that they can make it fail."""

    def _launch(self, theirs: socket.socket) -> None:
        self._thread = Thread(target=sender.serve, args=(theirs.dup(),))
        self._thread.start()

    def stop(self) -> None:
        super().stop()
        self._thread.join(10)


class MakeSenderClient:
    """Starts sender clients, for `stop` to end; loopback is allowed by default."""

    def __init__(self) -> None:
        self._started: list[OneByOne] = []

    def __call__(
        self,
        *,
        kind: type[OneByOne] = Forking,
        schemes: tuple[str, ...] = ("http", "https"),
        allow: tuple[Network, ...] = LOOPBACK,
        ca_file: Path | None = None,
        dns: tuple[str, ...] = (),
        connect_timeout: float = 5.0,
    ) -> OneByOne:
        options = SenderOptions(
            schemes=schemes,
            allow=allow,
            ca_file=ca_file,
            dns_servers=dns,
            max_connections=4000,
            connect_timeout=connect_timeout,
        )
        sender_client = kind(options)
        self._started.append(sender_client)
        sender_client.start()
        return sender_client

    def stop(self) -> None:
        for sender_client in self._started:
            sender_client.stop()


def outbound_request(
    url: str,
    *,
    key: str = "msg_1",
    deadline: float = 10.0,
    content: str = "{}",
    headers: tuple[tuple[str, str], ...] = (),
) -> OutboundRequest:
    message = Notice(TEST.name, 0, content)
    return OutboundRequest(key, url, "msg_1", 1_700_000_000, message, (KEY,), headers, "relay/test", deadline)


def send(sender_client: OneByOne, url: str, *, deadline: float = 10.0, content: str = "{}") -> Reply:
    sender_client.submit(outbound_request(url, deadline=deadline, content=content))
    return sender_client.reply()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """TLS of a receiver with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@dataclass(frozen=True, slots=True)
class Route:
    """A sender client, and how it reaches receivers: over plain HTTP, or TLS with this context."""

    sender_client: OneByOne
    tls: ssl.SSLContext | None = None

    def receiver(self, script: Script) -> Chaos:
        return Chaos(script, tls=self.tls)

    def exchange(self, script: Script, *, deadline: float = 10.0) -> Reply:
        """Send one request to a receiver that runs this script."""
        with self.receiver(script) as receiver:
            return send(self.sender_client, receiver.url, deadline=deadline)


def exchange(sender_client: OneByOne, script: Script, *, deadline: float = 10.0) -> Reply:
    """Send one request over plain HTTP to a receiver that runs this script."""
    return Route(sender_client).exchange(script, deadline=deadline)
