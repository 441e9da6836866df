"""The process that sends: how it ends, what it knows, and what its death, hanging or lies cause."""

import json
import marshal
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from relay.common.errors import SenderDied
from relay.common.states import ErrorClass
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.deliveries.in_flight import InFlightRegistry
from relay.deliveries.result_writer import ResultWriter
from relay.deliveries.rules.attempts import InFlightAttempt
from relay.sending.rules.outbound import Reply, SenderOptions
from relay.sending.sender_client import SenderClient
from tests.support.chaos import Chaos, Connection, answering, once
from tests.support.dispatch import delivery_config
from tests.support.dns import NameServer, Says
from tests.support.sender_client import OK, InThisProcess, MakeSenderClient, OneByOne, outbound_request, send


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_stopping_ends_the_sender_and_what_is_under_way(make_sender_client: MakeSenderClient) -> None:
    arrived, hung_up = threading.Event(), threading.Event()

    def read_until_end(connection: Connection) -> None:
        connection.read_request()
        arrived.set()
        connection.read_request()  # the end of the connection
        hung_up.set()

    with NameServer({"silent.test": Says.NOTHING}) as names, Chaos(read_until_end) as receiver:
        sender_client = make_sender_client(dns=(names.address,))
        for url in (f"http://127.0.0.1:{receiver.port}/", "http://silent.test/"):
            for _ in range(10):
                sender_client.submit(outbound_request(url))
        assert arrived.wait(10)
        pid = sender_client.pid
        sender_client.stop()
        assert hung_up.wait(10)
    assert not is_running(pid)
    with pytest.raises(SenderDied):
        sender_client.submit(outbound_request("http://127.0.0.1/"))


def test_a_sender_client_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(b"")
    options = SenderOptions(schemes=(), allow=(), ca_file=ca_file, dns_servers=(), max_connections=1)
    sender_client = SenderClient(options)
    with pytest.raises(SenderDied):
        sender_client.submit(outbound_request("http://127.0.0.1/"))
    sender_client.stop()


def test_a_killed_sender_is_an_error_after_the_replies_that_came(sender_client: OneByOne) -> None:
    arrived = threading.Event()

    def hang(connection: Connection) -> None:
        arrived.set()
        connection.hang()

    with Chaos(answering(OK)) as receiver, Chaos(once(hang)) as silent:
        url = f"http://127.0.0.1:{receiver.port}/"
        sender_client.submit(*(outbound_request(url, key=str(n)) for n in range(3)))
        keys = {sender_client.reply().key for _ in range(3)}
        sender_client.submit(outbound_request(f"http://127.0.0.1:{silent.port}/"))
        assert arrived.wait(10)
        os.kill(sender_client.pid, signal.SIGKILL)
        with pytest.raises(SenderDied, match="exit code -9"):
            sender_client.reply()
    assert keys == {"0", "1", "2"}


def test_the_signals_of_a_terminal_and_of_a_supervisor_do_not_end_the_sender(
    make_sender_client: MakeSenderClient,
) -> None:
    sender_client = make_sender_client(kind=OneByOne)
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        assert send(sender_client, url).error is None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(sender_client.pid, number)
        assert send(sender_client, url).error is None


def test_the_sender_knows_neither_the_database_nor_a_key(
    make_sender_client: MakeSenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "DATABASE_URL",
        "RELAY_MASTER_KEY",
        "RELAY_ADMIN_TOKEN_FILE",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    ):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("HTTP_PROXY_OF_TESTS", "kept")
    sender_client = make_sender_client(kind=OneByOne)
    assert send(sender_client, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    environ = Path(f"/proc/{sender_client.pid}/environ").read_bytes()
    assert b"HTTP_PROXY_OF_TESTS=kept" in environ
    assert b"hush" not in environ


class CallsUs:
    calls = 0

    @classmethod
    def call(cls) -> None:
        cls.calls += 1

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return CallsUs.call, ()


LIES = [
    pickle.dumps([CallsUs()]),
    pickle.dumps([("k", CallsUs(), None, None, b"", 1, None)]),
    pickle.dumps(7),
    pickle.dumps(["no reply"]),
    pickle.dumps([("k", "200", None, None, b"", 1, None)]),
    pickle.dumps([("k", 200, "no such class", None, b"", 1, None)]),
    pickle.dumps([("k", 200, None, None, "text", 1, None)]),
    pickle.dumps([Reply("k", 200, None, None, b"", 1)]),
    marshal.dumps([("k", 200, None, None, b"", 1, None)]),
    b"",
    b"no pickle",
    b"\x80\x05.",
]


@pytest.mark.parametrize("lie", LIES)
def test_a_sender_that_says_what_is_no_reply_is_given_up(
    make_sender_client: MakeSenderClient, lie: bytes
) -> None:
    class Liar(OneByOne):
        def _launch(self, theirs: socket.socket) -> None:
            theirs.sendall(len(lie).to_bytes(4) + lie)
            self._kept = theirs.dup()

        def stop(self) -> None:
            super().stop()
            self._kept.close()

    sender_client = make_sender_client(kind=Liar)
    with pytest.raises(SenderDied, match="no reply"):
        sender_client.reply()
    assert CallsUs.calls == 0


def run_for(seconds: float, result_writer: ResultWriter) -> None:
    end = monotonic() + seconds
    while monotonic() < end:
        result_writer.run_once()


def test_a_sender_that_says_nothing_is_given_up_and_not_before_its_time(
    sender_client: OneByOne, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.deliveries.result_writer.SILENCE", 0.3)
    assert send(sender_client, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    os.kill(sender_client.pid, signal.SIGSTOP)
    registry = InFlightRegistry(1)
    result_writer = ResultWriter(
        store, clock, sender_client, registry, delivery_config(clock, attempt_seconds=0.3)
    )
    result_writer.run_once()  # nothing is in flight, so nothing is missed
    registry.add(
        [
            (
                "msg_1",
                InFlightAttempt(
                    "msg_1", "token", 1, "ep_1", "sub_1", cold=False, payload_bytes=1, started_at=0
                ),
            )
        ]
    )
    sender_client.submit(outbound_request("http://127.0.0.1:1/"))
    began = monotonic()
    with pytest.raises(SenderDied, match="said nothing"):
        run_for(10, result_writer)
    assert monotonic() - began > 0.3
    os.kill(sender_client.pid, signal.SIGCONT)


def test_a_sender_that_takes_nothing_is_given_up(
    sender_client: OneByOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.sending.sender_client.STUCK", 0.2)
    assert send(sender_client, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    os.kill(sender_client.pid, signal.SIGSTOP)
    large = [json.dumps(chr(97 + n) * (1 << 20)) for n in range(20)]  # more than any buffer holds
    with pytest.raises(SenderDied, match="took nothing"):
        sender_client.submit(*(outbound_request("http://127.0.0.1:1/", content=content) for content in large))
    os.kill(sender_client.pid, signal.SIGCONT)


def test_an_unexpected_error_in_the_loop_costs_what_is_in_flight_and_no_more(
    make_sender_client: MakeSenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender_client = make_sender_client(kind=InThisProcess)
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        with monkeypatch.context() as patch:
            patch.setattr("relay.sending.transfer.Transfer.reply", lambda *_args: 1 / 0)
            lost = send(sender_client, url)
        assert lost.error is ErrorClass.INTERNAL
        assert lost.detail is not None
        assert "ZeroDivisionError at sending/sender.py:" in lost.detail
        assert send(sender_client, url).error is None
