"""The process that sends: how it ends, what it knows, and what happens when it dies, hangs or lies."""

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

from relay.core.errors import SenderDied
from relay.core.records import Reply
from relay.core.slots import Flight
from relay.core.states import ErrorClass
from relay.deliver.flights import Flights
from relay.deliver.settler import Settler
from relay.net.courier import Courier
from relay.store.clock import Clock
from relay.store.engine import Store
from tests.support_chaos import Chaos, Line, answering, once
from tests.support_courier import OK, InThisProcess, MakeCourier, OneByOne, parcel, send
from tests.support_dispatch import deliver_rules
from tests.support_dns import NameServer, Says


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_stopping_ends_the_sender_and_what_is_under_way(make_courier: MakeCourier) -> None:
    came, hung_up = threading.Event(), threading.Event()

    def wait(line: Line) -> None:
        line.read_request()
        came.set()
        line.read_request()  # the end of the connection
        hung_up.set()

    with NameServer({"silent.test": Says.NOTHING}) as names, Chaos(wait) as receiver:
        courier = make_courier(dns=(names.address,))
        for url in (f"http://127.0.0.1:{receiver.port}/", "http://silent.test/"):
            for _ in range(10):
                courier.submit(parcel(url))
        assert came.wait(10)
        pid = courier.pid
        courier.stop()
        assert hung_up.wait(10)
    assert pid is not None
    assert not is_running(pid)
    with pytest.raises(SenderDied):
        courier.submit(parcel("http://127.0.0.1/"))


def test_a_courier_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(b"")
    courier = Courier(schemes=("https",), allow=(), ca_file=ca_file, dns_servers=(), max_connections=1)
    with pytest.raises(SenderDied):
        courier.submit(parcel("http://127.0.0.1/"))
    courier.stop()


def test_a_sender_that_is_killed_is_told_of_after_the_replies_that_came(courier: OneByOne) -> None:
    came = threading.Event()

    def hang(line: Line) -> None:
        came.set()
        line.hang()

    with Chaos(answering(OK)) as receiver, Chaos(once(hang)) as silent:
        courier.submit(*(parcel(f"http://127.0.0.1:{receiver.port}/", key=str(n)) for n in range(3)))
        keys = {courier.reply().key for _ in range(3)}
        courier.submit(parcel(f"http://127.0.0.1:{silent.port}/"))
        assert came.wait(10)
        assert courier.pid is not None
        os.kill(courier.pid, signal.SIGKILL)
        with pytest.raises(SenderDied, match="exit code -9"):
            courier.reply()
    assert keys == {"0", "1", "2"}


def test_the_signals_of_a_terminal_and_of_a_supervisor_do_not_end_the_sender(courier: OneByOne) -> None:
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        assert send(courier, url).error is None
        assert courier.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(courier.pid, number)
        assert send(courier, url).error is None


def test_the_sender_knows_neither_the_database_nor_a_key(
    make_courier: MakeCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "DATABASE_URL",
        "RELAY_MASTER_KEY",
        "RELAY_ADMIN_TOKEN_FILE",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    ):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("HTTP_PROXY_OF_TESTS", "kept")
    courier = make_courier()
    assert send(courier, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    environ = Path(f"/proc/{courier.pid}/environ").read_bytes()
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
def test_a_sender_that_says_what_is_no_reply_is_given_up(make_courier: MakeCourier, lie: bytes) -> None:
    class Liar(OneByOne):
        def _launch(self, theirs: socket.socket) -> None:
            theirs.sendall(len(lie).to_bytes(4) + lie)
            self._kept = theirs.dup()

        def stop(self) -> None:
            super().stop()
            self._kept.close()

    courier = make_courier(kind=Liar)
    with pytest.raises(SenderDied, match="no reply"):
        courier.reply()
    assert CallsUs.calls == 0


def turn_for(seconds: float, settler: Settler) -> None:
    end = monotonic() + seconds
    while monotonic() < end:
        settler.turn()


def test_a_sender_that_says_nothing_is_given_up_and_not_before_its_time(
    courier: OneByOne, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.deliver.settler.SILENCE", 0.3)
    assert send(courier, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    assert courier.pid is not None
    os.kill(courier.pid, signal.SIGSTOP)
    flights = Flights(1)
    settler = Settler(store, clock, courier, flights, deliver_rules(clock, attempt_seconds=0.3))
    settler.turn()  # nothing flies, so nothing is missed
    flights.begin(
        [
            (
                "msg_1",
                Flight("msg_1", "token", 1, "ep_1", "sub_1", unproven=False, payload_bytes=1, started_at=0),
            )
        ]
    )
    courier.submit(parcel("http://127.0.0.1:1/"))
    began = monotonic()
    with pytest.raises(SenderDied, match="said nothing"):
        turn_for(10, settler)
    assert monotonic() - began > 0.3
    os.kill(courier.pid, signal.SIGCONT)


def test_a_sender_that_takes_nothing_is_given_up(courier: OneByOne, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.courier.STUCK", 0.2)
    assert send(courier, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    assert courier.pid is not None
    os.kill(courier.pid, signal.SIGSTOP)
    large = [json.dumps(chr(97 + n) * (1 << 20)) for n in range(20)]  # more than any buffer holds
    with pytest.raises(SenderDied, match="took nothing"):
        courier.submit(*(parcel("http://127.0.0.1:1/", content=content) for content in large))
    os.kill(courier.pid, signal.SIGCONT)


def test_a_surprise_in_the_loop_costs_what_is_in_flight_and_no_more(
    make_courier: MakeCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier = make_courier(kind=InThisProcess)
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        with monkeypatch.context() as patch:
            patch.setattr("relay.net.transfer.Transfer.reply", lambda *_args: 1 / 0)
            lost = send(courier, url)
        assert lost.error is ErrorClass.INTERNAL
        assert lost.detail is not None
        assert "ZeroDivisionError at net/sender.py:" in lost.detail
        assert send(courier, url).error is None
