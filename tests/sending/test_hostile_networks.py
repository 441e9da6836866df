"""Between the relay and a receiver: redirects, environment, dying connections, names, addresses."""

import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from time import monotonic

import pytest

from relay.common.states import ErrorClass
from relay.sending.resolver import Found
from tests.support.addresses import FORBIDDEN
from tests.support.chaos import Chaos, Connection, answering, once
from tests.support.dns import NameServer, Says
from tests.support.sender_client import (
    OK,
    InThisProcess,
    MakeSenderClient,
    OneByOne,
    Route,
    exchange,
    outbound_request,
    send,
)

# H7: redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_H7_a_redirect_causes_no_second_request_anywhere(sender_client: OneByOne, status: int) -> None:
    asked: list[bytes] = []

    def redirecting(location: bytes) -> Callable[[Connection], None]:
        def script(connection: Connection) -> None:
            while (request := connection.read_request()) is not None:
                asked.append(request)
                connection.send(
                    b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
                )

        return script

    with Chaos(answering(OK)) as elsewhere:
        there = b"http://127.0.0.1:%d/there" % elsewhere.port
        replies = [exchange(sender_client, redirecting(location)) for location in (there, b"/elsewhere")]
        assert elsewhere.connections == 0
    assert {(reply.status_code, reply.error) for reply in replies} == {(status, ErrorClass.REDIRECT)}
    assert [request.split(b" ")[:2] for request in asked] == [[b"POST", b"/hook"]] * 2


# H8: the environment and cookies.


def test_H8_a_cookie_is_never_sent_back(sender_client: OneByOne) -> None:
    heads: list[bytes] = []

    def script(connection: Connection) -> None:
        while (request := connection.read_request()) is not None:
            heads.append(request.lower())
            connection.send(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n"))

    with Chaos(script) as receiver:
        for _ in range(2):
            assert send(sender_client, f"http://127.0.0.1:{receiver.port}/").error is None
    assert len(heads) == 2
    assert not any(b"cookie" in head for head in heads)


def test_H8_netrc_is_never_read(
    make_sender_client: MakeSenderClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login eve password hush\ndefault login eve password hush\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    heads: list[bytes] = []

    def script(connection: Connection) -> None:
        heads.append((connection.read_request() or b"").lower())
        connection.send(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")

    assert exchange(make_sender_client(), script).status_code == 401
    assert len(heads) == 1
    assert b"authorization" not in heads[0]


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"])
def test_H8_a_proxy_of_the_environment_is_never_used(
    make_sender_client: MakeSenderClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Chaos(answering(OK)) as proxy:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        sender_client = make_sender_client()
        assert exchange(sender_client, answering(OK)).error is None
        assert send(sender_client, "https://127.0.0.1:1/").error is ErrorClass.CONNECT
        assert proxy.connections == 0


# H9: connections that end.


def test_H9_a_kept_connection_closed_while_idle_costs_no_attempt(route: Route) -> None:
    closed = threading.Semaphore(0)

    def answer_and_close(connection: Connection) -> None:
        if connection.read_request() is not None:
            connection.send(OK)
            connection.shut()
            closed.release()

    with route.receiver(answer_and_close) as receiver:
        replies = []
        for _ in range(5):
            replies.append(send(route.sender_client, receiver.url))
            assert closed.acquire(timeout=10)
        assert receiver.connections == 5
    assert [(reply.status_code, reply.error) for reply in replies] == [(200, None)] * 5


@pytest.mark.parametrize("kept", [0, 1, 6])
def test_H9_a_peer_that_reads_all_and_closes_is_sent_to_again_once_at_most(route: Route, kept: int) -> None:
    """However many connections are kept: each of them could die in turn."""
    asked = threading.Semaphore(0)
    recorded = threading.Event()
    warm = threading.Barrier(kept or 1)

    def read_all_and_close(connection: Connection) -> None:
        if connection.read_request() is None:
            return
        if not recorded.is_set():
            warm.wait(timeout=10)
            connection.send(OK)
            if connection.read_request() is None:
                return
        asked.release()

    with route.receiver(read_all_and_close) as receiver:
        for _ in range(kept):
            route.sender_client.submit(outbound_request(receiver.url))
        assert {route.sender_client.reply(10).error for _ in range(kept)} <= {None}
        recorded.set()
        reply = send(route.sender_client, receiver.url)
    assert (reply.status_code, reply.error) == (None, ErrorClass.PROTOCOL)
    assert "closed the connection without an answer" in (reply.detail or "")
    times = sum(asked.acquire(blocking=False) for _ in range(10))
    assert times == (2 if kept else 1)


# H11: a name server that never answers. I6: a thousand such names.


def test_H11_a_name_server_that_never_answers_ends_within_the_deadline(
    make_sender_client: MakeSenderClient,
) -> None:
    with NameServer({"silent.test": Says.NOTHING}) as names:
        started = monotonic()
        reply = send(make_sender_client(dns=(names.address,)), "http://silent.test/", deadline=1)
    assert (reply.error, reply.detail) == (
        ErrorClass.DNS,
        "no name server answered the question for silent.test within 1 s",
    )
    assert 0.9 < monotonic() - started < 2


def test_I6_a_thousand_names_that_never_resolve_delay_no_other(make_sender_client: MakeSenderClient) -> None:
    script: dict[str, list[str] | Says] = {f"hung{n}.test": Says.NOTHING for n in range(1000)}
    script |= {f"good{n}.test": ["127.0.0.1"] for n in range(20)}
    with NameServer(script) as names, Chaos(answering(OK)) as receiver:
        sender_client = make_sender_client(dns=(names.address,))
        for n in range(1000):
            sender_client.submit(outbound_request(f"http://hung{n}.test/", key=f"hung{n}", deadline=3))
        started = monotonic()
        for n in range(20):
            sender_client.submit(outbound_request(f"http://good{n}.test:{receiver.port}/", key=f"good{n}"))
        first = [sender_client.reply(10) for _ in range(20)]
        took = monotonic() - started
        others = [sender_client.reply(10) for _ in range(1000)]
    assert {reply.key for reply in first} == {f"good{n}" for n in range(20)}
    assert took < 2
    assert {reply.error for reply in others} == {ErrorClass.DNS}
    assert monotonic() - started < 5


# S1: forbidden addresses. S3: allowed networks.


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1/", "http://169.254.169.254/latest", "https://[fe80::1]/", "http://[2001:db8::1]/"),
        *("http://2130706433/", "http://127.1/", "http://[::ffff:127.0.0.1]/", "http://a@127.0.0.1/"),
        *("http://0x7f.1/", "http://127.0.0.1\\@x/", "http://127.0.0.1./", "ftp://h/"),
    ],
)
def test_S1_forbidden_hosts_are_never_connected_to(sender_client: OneByOne, url: str) -> None:
    reply = send(sender_client, url)
    assert (reply.error, reply.status_code) == (ErrorClass.BLOCKED_ADDRESS, None)
    assert reply.detail


def test_S1_no_answer_of_dns_leads_to_a_forbidden_address(make_sender_client: MakeSenderClient) -> None:
    """Nothing is allowed here, so every address of the table must be refused, loopback included."""
    script = {f"n{n}.test": [address] for n, address in enumerate(FORBIDDEN)}
    with NameServer(script) as names:
        sender_client = make_sender_client(allow=(), dns=(names.address,))
        for host in script:
            sender_client.submit(outbound_request(f"http://{host}/", key=host))
        replies = {reply.key: reply for reply in (sender_client.reply(20) for _ in script)}
    wrong = {
        script[key][0]: reply
        for key, reply in replies.items()
        if reply.error is not ErrorClass.BLOCKED_ADDRESS
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"],
        ["127.0.0.1", "192.168.1.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["10.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "fd00::1"],
    ],
)
def test_S1_one_forbidden_address_blocks_the_name(
    make_sender_client: MakeSenderClient, addresses: list[str]
) -> None:
    with NameServer({"mixed.test": addresses}) as names, Chaos(answering(OK)) as receiver:
        reply = send(make_sender_client(dns=(names.address,)), f"http://mixed.test:{receiver.port}/")
        assert receiver.connections == 0
    assert reply.error is ErrorClass.BLOCKED_ADDRESS
    assert "mixed.test resolves to" in (reply.detail or "")


def test_S1_first_answer_allowed_second_private_is_blocked(make_sender_client: MakeSenderClient) -> None:
    closing = once(lambda connection: connection.send(OK))
    with NameServer({"moves.test": ["127.0.0.1"]}, ttl=0) as names, Chaos(closing) as receiver:
        sender_client = make_sender_client(dns=(names.address,))
        url = f"http://moves.test:{receiver.port}/"
        assert send(sender_client, url).error is None
        names.script["moves.test"] = ["169.254.169.254"]
        assert send(sender_client, url).error is ErrorClass.BLOCKED_ADDRESS
        assert receiver.connections == 1


def test_S1_a_socket_to_a_forbidden_address_is_refused_even_if_a_name_slipped_through(
    make_sender_client: MakeSenderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "relay.sending.resolver.Resolver._judged", lambda _self, _host, found: Found(tuple(found))
    )
    reply = send(make_sender_client(kind=InThisProcess), "http://10.0.0.1/")
    assert reply.error is ErrorClass.BLOCKED_ADDRESS
    assert "the connection would go to 10.0.0.1" in (reply.detail or "")


def test_S3_an_allowed_network_opens_only_itself_by_literal_and_by_name(
    make_sender_client: MakeSenderClient,
) -> None:
    script = {"in.test": ["127.0.0.2"], "out.test": ["127.0.0.1"], "both.test": ["127.0.0.2", "127.0.0.1"]}
    with (
        NameServer(script) as names,
        Chaos(answering(OK), host="127.0.0.2") as inside,
        Chaos(answering(OK)) as outside,
    ):
        sender_client = make_sender_client(allow=(ip_network("127.0.0.2/32"),), dns=(names.address,))
        for host in ("127.0.0.2", "in.test"):
            assert send(sender_client, f"http://{host}:{inside.port}/").error is None
        for host in ("127.0.0.1", "out.test", "both.test", "[::ffff:127.0.0.1]", "[::1]"):
            assert send(sender_client, f"http://{host}:{outside.port}/").error is ErrorClass.BLOCKED_ADDRESS
        assert outside.connections == 0
