"""The addresses that libcurl holds: real transfers to names that only `Hosts` can resolve."""

from collections.abc import Iterator
from ipaddress import ip_network
from time import monotonic

import pytest

from relay import settings
from relay.common.states import ErrorClass
from relay.sending import engine, hosts
from relay.sending.engine import Engine
from relay.sending.hosts import NOTED_EVERY, TAKE_OUT, Hosts
from relay.sending.rules.outbound import Reply, SenderOptions
from relay.sending.sockets import Sockets
from relay.sending.transfer import MAX_CONNECTION_SECONDS
from tests.support.chaos import Chaos, answering
from tests.support.dns import NameServer
from tests.support.sender_client import OK, outbound_request

ADDRESS = ("127.0.0.1",)
CLOSING = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
MANY = [f"host{number}.test" for number in range(40)]


class Sender:
    """An engine whose `hosts` are open to the tests."""

    def __init__(self, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts = Hosts()
        monkeypatch.setattr(engine, "Hosts", lambda: self.hosts)
        self._replies: list[Reply] = []
        self._sockets = Sockets()
        options = SenderOptions(
            schemes=("http",),
            allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            ca_file=None,
            dns_servers=(names.address,),
            max_connections=10,
        )
        self.engine = Engine(options, self._sockets, self._replies.append)

    def send(self, *urls: str) -> list[Reply]:
        """Send to all at once; the replies in the order in which they came."""
        for url in urls:
            self.engine.begin(outbound_request(url))
        end = monotonic() + 20.0
        while len(self._replies) < len(urls):
            assert monotonic() < end, "a reply is missing"
            self.engine.run_once(wait=True)
        replies, self._replies[:] = self._replies[:], []
        return replies

    def errors(self, *urls: str) -> set[ErrorClass | None]:
        return {reply.error for reply in self.send(*urls)}

    def close(self) -> None:
        self.engine.close()
        self._sockets.close()


@pytest.fixture
def names() -> Iterator[NameServer]:
    script = {name: list(ADDRESS) for name in ("a.test", "b.test", *MANY)}
    with NameServer(script, ttl=0) as server:  # every transfer asks anew
        yield server


@pytest.fixture
def sender(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    sender = Sender(names, monkeypatch)
    yield sender
    sender.close()


@pytest.fixture
def port() -> Iterator[int]:
    """Of a receiver that answers and closes, so that each transfer needs the address anew."""
    with Chaos(answering(CLOSING)) as receiver:
        yield receiver.port


def test_libcurl_never_looks_up_a_host_whose_addresses_it_lacks(
    sender: Sender, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender.hosts, "entries", lambda *_: [])
    assert sender.errors(f"http://a.test:{port}/") == {ErrorClass.INTERNAL}


def test_old_entries_are_taken_out_of_libcurl_and_can_be_brought_again(
    sender: Sender, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "TAKE_OUT", 0.0)
    a, b = f"http://a.test:{port}/", f"http://b.test:{port}/"
    assert sender.errors(a) == {None}
    assert sender.errors(b) == {None}
    with monkeypatch.context() as patched:
        patched.setattr(sender.hosts, "entries", lambda *_: [])
        assert sender.errors(a) == {ErrorClass.INTERNAL}
    assert sender.errors(a) == {None}


@pytest.mark.parametrize("answer", [CLOSING, OK])
def test_a_burst_after_a_quiet_time_reaches_every_host(
    sender: Sender, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transfer of the same moment may be about to use the entry that one takes out."""
    monkeypatch.setattr(hosts, "TAKE_OUT", 0.0)
    monkeypatch.setattr(hosts, "NOTED_EVERY", -1.0)
    with Chaos(answering(answer)) as receiver:
        urls = [f"http://{name}:{receiver.port}/" for name in MANY]
        for _ in range(15):  # over 512 transfers: libcurl's numbers of them begin anew
            assert sender.errors(*urls) == {None}
            assert sender.errors(*reversed(urls), *urls) == {None}


def test_an_address_that_changes_and_changes_back_counts_at_once(sender: Sender, names: NameServer) -> None:
    with Chaos(answering(CLOSING)) as receiver:
        url = f"http://a.test:{receiver.port}/"
        assert sender.errors(url) == {None}
        names.script["a.test"] = ["127.0.0.2"]  # where nobody listens
        assert sender.errors(url) == {ErrorClass.CONNECT}
        names.script["a.test"] = list(ADDRESS)
        assert sender.errors(url) == {None}


def test_an_ipv6_literal_is_brought_and_taken_out_as_a_name_is(
    sender: Sender, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "TAKE_OUT", 0.0)
    with Chaos(answering(OK), host="::1") as receiver:
        for _ in range(2):
            assert sender.errors(f"http://[::1]:{receiver.port}/") == {None}
            assert sender.errors(f"http://a.test:{port}/") == {None}


def test_the_oldest_are_taken_out_few_at_once_and_none_that_was_noted_lately() -> None:
    hosts_ = Hosts()
    for number in range(5):
        hosts_.entries(f"{number}:80", ADDRESS, float(number))
    hosts_.entries("0:80", ADDRESS, 100.0)
    assert hosts_.entries("x:80", ADDRESS, TAKE_OUT + 1.5) == ["-1:80", "x:80:127.0.0.1"]
    assert hosts_.entries("x:80", ADDRESS, TAKE_OUT + 9.0) == ["x:80:127.0.0.1"]
    assert hosts_.entries("y:80", ADDRESS, TAKE_OUT + 9.0) == ["-2:80", "-3:80", "y:80:127.0.0.1"]
    assert hosts_.entries("[::1]:80", ("::1", "127.0.0.1"), 0.0) == ["[::1]:80:[::1],127.0.0.1"]


def test_no_attempt_and_no_kept_connection_outlives_its_entry() -> None:
    assert settings.LONGEST_ATTEMPT + NOTED_EVERY + MAX_CONNECTION_SECONDS < TAKE_OUT


def test_a_host_that_is_used_again_and_again_is_not_taken_out() -> None:
    hosts_ = Hosts()
    for second in range(2000):
        assert hosts_.entries("a:80", ADDRESS, float(second)) == ["a:80:127.0.0.1"]
    assert hosts_.entries("b:80", ADDRESS, 2000.0) == ["b:80:127.0.0.1"]
