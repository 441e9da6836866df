"""What libcurl was told of hosts: real transfers of one engine, to names that only `Hosts` can resolve."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from time import monotonic

import certifi
import pytest

from relay.core.records import Reply
from relay.core.states import ErrorClass
from relay.net import engine, hosts
from relay.net.engine import Engine
from relay.net.hosts import Hosts
from relay.net.options import EngineOptions
from relay.net.sockets import Sockets
from tests.support_chaos import Chaos, answering
from tests.support_courier import OK, parcel
from tests.support_dns import NameServer

ADDRESS = ("127.0.0.1",)


class Sender:
    """An engine whose books on what libcurl was told are open to the tests."""

    def __init__(self, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts = Hosts()
        monkeypatch.setattr(engine, "Hosts", lambda: self.hosts)
        self._replies: list[Reply] = []
        self._sockets = Sockets()
        options = EngineOptions(
            allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            ca_bundle=Path(certifi.where()),
            dns_servers=(names.address,),
            max_connections=10,
            connect_timeout=5.0,
        )
        self.engine = Engine(options, self._sockets, self._replies.append)

    def send(self, url: str) -> Reply:
        self.engine.begin(parcel(url))
        end = monotonic() + 20.0
        while not self._replies:
            assert monotonic() < end, "there was no reply"
            self.engine.step(wait=True)
        return self._replies.pop()

    def close(self) -> None:
        self.engine.close()
        self._sockets.close()


@pytest.fixture
def names() -> Iterator[NameServer]:
    script = {f"{name}.test": list(ADDRESS) for name in "abc"}
    with NameServer(script, ttl=1) as server:
        yield server


@pytest.fixture
def sender(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    made = Sender(names, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def port() -> Iterator[int]:
    """Of a receiver that answers and closes, so that each transfer needs the address anew."""
    with Chaos(answering(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as receiver:
        yield receiver.port


def test_libcurl_is_told_of_a_host_once_and_sends_to_it_again(sender: Sender, port: int) -> None:
    name = f"a.test:{port}"
    assert not sender.hosts.is_told(name, ADDRESS, monotonic())
    for _ in range(3):
        assert sender.send(f"http://{name}/").status_code == 200
        assert sender.hosts.is_told(name, ADDRESS, monotonic())


def test_a_host_that_libcurl_was_not_told_of_is_never_looked_up(sender: Sender, port: int) -> None:
    sender.hosts.told(f"a.test:{port}", ADDRESS, monotonic())  # which is not so
    assert sender.send(f"http://a.test:{port}/").error is ErrorClass.INTERNAL


def test_what_was_told_long_ago_is_taken_out_of_libcurl(
    sender: Sender, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sender.send(f"http://a.test:{port}/").status_code == 200
    monkeypatch.setattr(hosts, "TAKE_OUT", -1.0)
    assert sender.send(f"http://b.test:{port}/").status_code == 200
    assert not sender.hosts.is_told(f"a.test:{port}", ADDRESS, monotonic())
    assert sender.send(f"http://a.test:{port}/").status_code == 200, "it is told again"
    assert sender.send(f"http://c.test:{port}/").status_code == 200
    sender.hosts.told(f"a.test:{port}", ADDRESS, monotonic())  # which is not so any more
    assert sender.send(f"http://a.test:{port}/").error is ErrorClass.INTERNAL


def test_an_ipv6_literal_is_told_and_taken_out_as_a_name_is(
    sender: Sender, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "TAKE_OUT", -1.0)
    with Chaos(answering(OK), host="::1") as receiver:
        for _ in range(2):
            assert sender.send(f"http://[::1]:{receiver.port}/").status_code == 200
            assert sender.send(f"http://a.test:{port}/").status_code == 200


def test_books_name_what_is_new_what_has_changed_and_what_is_a_minute_old() -> None:
    books = Hosts()
    assert not books.is_told("a:80", ADDRESS, 0.0)
    books.told("a:80", ADDRESS, 0.0)
    assert books.is_told("a:80", ADDRESS, 59.9)
    assert not books.is_told("a:80", ("127.0.0.2",), 1.0)
    assert not books.is_told("a:80", ADDRESS, 60.0)
    assert books.telling("[::1]:80", ("::1", "127.0.0.1"), 1.0) == ["[::1]:80:[::1],127.0.0.1"]


def test_leave_is_taken_of_the_oldest_and_of_few_at_once() -> None:
    books = Hosts()
    for number in range(5):
        books.told(f"{number}:80", ADDRESS, float(number))
    books.told("0:80", ADDRESS, 100.0)
    assert books.telling("x:80", ADDRESS, 181.5) == ["-1:80", "x:80:127.0.0.1"]
    assert books.telling("x:80", ADDRESS, 190.0) == ["-2:80", "-3:80", "x:80:127.0.0.1"]
