import errno
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from time import monotonic

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.core.records import SECOND, Parcel, Reply
from relay.core.states import ErrorClass
from relay.net.courier import Courier
from tests.support_chaos import Chaos, Line, Script, answering, once
from tests.support_dns import NameServer, Says

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = (("content-type", "application/json"), ("user-agent", "relay/test"), ("webhook-id", "msg_1"))

MakeCourier = Callable[..., Courier]


@pytest.fixture
def make() -> Iterator[MakeCourier]:
    made: list[Courier] = []

    def build(
        *, ca_file: Path | None = None, dns: tuple[str, ...] = (), connect_timeout: float = 5.0
    ) -> Courier:
        courier = Courier(
            allow=LOOPBACK,
            ca_file=ca_file,
            dns_servers=dns,
            max_in_flight=2000,
            connect_timeout=connect_timeout,
        )
        made.append(courier)
        courier.start()
        return courier

    yield build
    for courier in made:
        courier.stop(0)


@pytest.fixture
def courier(make: MakeCourier) -> Courier:
    return make()


def parcel(url: str, *, id: str = "msg_1", deadline: float = 10.0, body: bytes = b"{}") -> Parcel:  # noqa: A002 - as the record names it
    return Parcel(id, url, HEADERS, body, deadline)


def send(courier: Courier, url: str, *, deadline: float = 10.0, body: bytes = b"{}") -> Reply:
    courier.submit(parcel(url, deadline=deadline, body=body))
    return courier.results.get(timeout=30)


def exchange(courier: Courier, script: Script, *, deadline: float = 10.0) -> Reply:
    with Chaos(script) as receiver:
        return send(courier, f"http://127.0.0.1:{receiver.port}/hook", deadline=deadline)


# What goes out and comes back


def test_a_2xx_is_success_and_its_body_is_kept(courier: Courier) -> None:
    reply = exchange(courier, answering(OK))
    assert (reply.key, reply.status_code, reply.error, reply.detail) == ("msg_1", 200, None, None)
    assert reply.body == b"ok"
    assert 0 < reply.duration < 10 * SECOND
    assert courier.idle


def test_exactly_the_given_bytes_are_sent(courier: Courier) -> None:
    requests: list[bytes] = []

    def keep(line: Line) -> None:
        while (request := line.read_request()) is not None:
            requests.append(request)
            line.send(OK)

    body = bytes(range(256)) * 8
    with Chaos(keep) as receiver:
        send(courier, f"http://127.0.0.1:{receiver.port}/a/../b%20c?x[]={{1}}&y=%zz", body=body)
        host = f"127.0.0.1:{receiver.port}"
    head, _, sent = requests[0].partition(b"\r\n\r\n")
    assert sent == body
    assert head.decode().split("\r\n") == [
        "POST /a/../b%20c?x[]={1}&y=%zz HTTP/1.1",
        f"Host: {host}",
        "Accept: */*",
        "content-type: application/json",
        "user-agent: relay/test",
        "webhook-id: msg_1",
        "Content-Length: 2048",
    ]


def test_connections_are_kept_and_reused(courier: Courier) -> None:
    with Chaos(answering(OK)) as receiver:
        for _ in range(20):
            assert send(courier, f"http://127.0.0.1:{receiver.port}/").error is None
        assert receiver.connections == 1


def test_a_large_body_is_sent_whole(courier: Courier) -> None:
    sizes: list[int] = []

    def measure(line: Line) -> None:
        sizes.append(len(line.read_request() or b""))
        line.send(OK)

    with Chaos(measure) as receiver:
        assert send(courier, f"http://127.0.0.1:{receiver.port}/", body=b"x" * (1 << 20)).error is None
    assert sizes[0] > 1 << 20


def test_200_transfers_run_at_once(courier: Courier) -> None:
    together = threading.Barrier(200)

    def meet(line: Line) -> None:
        if line.read_request() is not None:
            together.wait(timeout=20)
            line.send(OK)

    with Chaos(meet) as receiver:
        for n in range(200):
            courier.submit(parcel(f"http://127.0.0.1:{receiver.port}/{n}", id=f"msg_{n}", deadline=20))
        replies = [courier.results.get(timeout=30) for _ in range(200)]
    assert {reply.key for reply in replies} == {f"msg_{n}" for n in range(200)}
    assert {reply.error for reply in replies} == {None}


def test_every_parcel_has_exactly_one_reply_from_many_threads(courier: Courier) -> None:
    kinds = ["http://127.0.0.1:{port}/{n}", "http://127.0.0.1:1/{n}", "http://10.0.0.1/{n}", "nonsense{n}"]
    with Chaos(answering(OK)) as receiver:

        def submit(n: int) -> None:
            courier.submit(parcel(kinds[n % 4].format(port=receiver.port, n=n), id=str(n)))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(submit, range(2000)))
        replies = [courier.results.get(timeout=30) for _ in range(2000)]
    assert sorted(int(reply.key) for reply in replies) == list(range(2000))
    assert courier.in_flight == 0
    with pytest.raises(queue.Empty):
        courier.results.get(timeout=0.05)


def test_a_parcel_that_our_code_chokes_on_fails_alone_and_tells_nothing(courier: Courier) -> None:
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        courier.submit(Parcel("bad", url, (("x-key", "hush\r\nx: y"),), b"", 5))
        courier.submit(Parcel("wide", url, (("x-key", "hush\u20ac"),), b"", 5))
        courier.submit(parcel(url))
        replies = {reply.key: reply for reply in (courier.results.get(timeout=10) for _ in range(3))}
    assert replies["msg_1"].error is None
    for name in ("bad", "wide"):
        assert replies[name].error is ErrorClass.INTERNAL
        assert "hush" not in repr(replies[name])


# Statuses


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((200, None), (201, None), (202, None), (204, None), (299, None)),
        *((300, ErrorClass.REDIRECT), (304, ErrorClass.REDIRECT), (400, ErrorClass.HTTP_4XX)),
        *((410, ErrorClass.HTTP_4XX), (429, ErrorClass.HTTP_4XX), (500, ErrorClass.HTTP_5XX)),
        *((503, ErrorClass.HTTP_5XX), (600, ErrorClass.HTTP_OTHER), (999, ErrorClass.HTTP_OTHER)),
    ],
)
def test_H4_a_status_decides(courier: Courier, status: int, error: ErrorClass | None) -> None:
    reply = exchange(courier, answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert (reply.status_code, reply.error) == (status, error)
    assert (reply.detail is None) == (error is None)


@pytest.mark.parametrize("status", [b"000", b"099", b"2", b"20x", b"-20"])
def test_H4_a_status_that_is_none_is_no_success(courier: Courier, status: bytes) -> None:
    reply = exchange(
        courier, once(lambda line: line.send(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status))
    )
    assert reply.error in {ErrorClass.PROTOCOL, ErrorClass.HTTP_OTHER}


def test_H4_an_interim_status_then_a_final_one(courier: Courier) -> None:
    interim = b"HTTP/1.1 102 Processing\r\nRetry-After: 9\r\n\r\n"
    reply = exchange(courier, answering(interim + b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (reply.status_code, reply.error, reply.retry_after) == (204, None, None)


def test_H4_nothing_after_an_interim_status(courier: Courier) -> None:
    reply = exchange(courier, once(lambda line: line.send(b"HTTP/1.1 102 Processing\r\n\r\n")))
    assert (reply.status_code, reply.error) == (102, ErrorClass.HTTP_1XX)


def test_H4_a_204_with_a_body_spoils_no_later_answer(courier: Courier) -> None:
    with Chaos(answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nHTTP/1.1 ")) as receiver:
        replies = [send(courier, f"http://127.0.0.1:{receiver.port}/") for _ in range(3)]
    assert [(reply.status_code, reply.error) for reply in replies] == [(204, None)] * 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_H7_redirects_are_not_followed(courier: Courier, status: int) -> None:
    with Chaos(answering(OK)) as elsewhere:
        location = b"http://127.0.0.1:%d/there" % elsewhere.port
        answer = b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
        reply = exchange(courier, answering(answer))
        assert elsewhere.connections == 0
    assert (reply.status_code, reply.error) == (status, ErrorClass.REDIRECT)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (b"Retry-After: 120\r\n", "120"),
        (b"retry-after:Wed, 21 Oct 2015 07:28:00 GMT\r\n", "Wed, 21 Oct 2015 07:28:00 GMT"),
        (b"Retry-After: 1\r\nRETRY-AFTER: 2\r\n", "2"),
        (b"Retry-After: \xff\xe9\r\n", "ÿé"),
        (b"Retry-After: " + b"9" * 5000 + b"\r\n", "9" * 255),
        (b"Retry-After:\r\n", ""),
        (b"X-Retry-After: 5\r\n", None),
    ],
)
def test_retry_after_is_kept_raw_and_bounded(courier: Courier, lines: bytes, kept: str | None) -> None:
    reply = exchange(courier, answering(b"HTTP/1.1 503 X\r\n%sContent-Length: 0\r\n\r\n" % lines))
    assert reply.retry_after == kept


# Deadlines


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda line: line.hang(), id="nothing"),
        pytest.param(lambda line: line.drip(b"HTTP/1.1 200 OK\r\n" * 50, 0.1), id="headers dripped"),
        pytest.param(lambda line: line.flood(b"HTTP/1.1 100 Continue\r\n\r\n"), id="flood of 100"),
        pytest.param(lambda line: line.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.01), id="100 dripped"),
    ],
)
def test_H1_no_whole_headers_end_within_the_deadline(courier: Courier, act: Callable[[Line], None]) -> None:
    started = monotonic()
    reply = exchange(courier, once(act), deadline=1.0)
    assert reply.error in {ErrorClass.TIMEOUT, ErrorClass.PROTOCOL}
    assert reply.status_code is None
    assert monotonic() - started < 2


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda line: line.drip(b"x" * 500, 0.1), id="body dripped"),
        pytest.param(lambda line: line.drip(b"1\r\nx\r\n" * 100, 0.05), id="chunks dripped"),
        pytest.param(lambda line: line.flood(b"1000\r\n" + b"x" * 4096 + b"\r\n"), id="endless chunks"),
        pytest.param(lambda line: line.hang(), id="no body"),
    ],
)
def test_H1_a_500_with_an_endless_body_counts_within_the_deadline(
    courier: Courier, act: Callable[[Line], None]
) -> None:
    def answer(line: Line) -> None:
        line.send(b"HTTP/1.1 500 X\r\n" + CHUNKED)
        act(line)

    started = monotonic()
    reply = exchange(courier, once(answer), deadline=1.0)
    assert (reply.status_code, reply.error) == (500, ErrorClass.HTTP_5XX)
    assert len(reply.body) <= 16 * 1024
    assert monotonic() - started < 2


def test_a_2xx_whose_body_dripps_counts_after_two_seconds(courier: Courier) -> None:
    def answer(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        line.drip(b"x" * 900, 0.05)

    started = monotonic()
    reply = exchange(courier, once(answer), deadline=15)
    assert (reply.status_code, reply.error) == (200, None)
    assert set(reply.body) == set(b"x")
    assert 1.9 < monotonic() - started < 3


@pytest.mark.parametrize(("status", "limit"), [(200, 1024), (500, 16 * 1024)])
def test_H2_a_huge_body_is_cut(courier: Courier, status: int, limit: int) -> None:
    def answer(line: Line) -> None:
        line.send(b"HTTP/1.1 %d X\r\nContent-Length: 400000000\r\n\r\n" % status)
        line.flood(b"x" * 65536)

    started = monotonic()
    reply = exchange(courier, once(answer))
    assert reply.status_code == status
    assert reply.body == b"x" * limit
    assert monotonic() - started < 2


def test_H2_nothing_is_decoded_or_asked_to_be_encoded(courier: Courier) -> None:
    squeezed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n" + squeezed
    assert exchange(courier, answering(answer)).body == squeezed


# Answers cut short


def announced_more(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")


def reset_in_the_body(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    line.reset()


def broken_chunks(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"zz\r\nnonsense")


@pytest.mark.parametrize("act", [announced_more, reset_in_the_body, broken_chunks])
def test_H3_a_2xx_whose_headers_came_whole_is_success(courier: Courier, act: Callable[[Line], None]) -> None:
    reply = exchange(courier, once(act))
    assert (reply.status_code, reply.error) == (200, None)


@pytest.mark.parametrize(
    "sent",
    [
        *(b"", b"HTTP", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"),
        *(b"HTTP/0.9 hello", b"\x00\xff\xfe nonsense", b"SSH-2.0-OpenSSH_9.6\r\n", b"<html></html>"),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_H3_anything_less_is_a_failure(courier: Courier, sent: bytes, reset: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    def act(line: Line) -> None:
        line.send(sent)
        if reset:
            line.reset()

    reply = exchange(courier, once(act))
    assert reply.error in {ErrorClass.PROTOCOL, ErrorClass.CONNECT}
    assert reply.status_code is None


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"X: 1\r\n" * 150, id="150 headers"),
        pytest.param(b"X: " + b"y" * 65_536 + b"\r\n", id="64 KiB header"),
        pytest.param(b"X: 1\r\n folded\r\n", id="folded"),
        pytest.param(b"X: \x01\r\n", id="control"),
    ],
)
def test_H5_odd_headers_are_borne(courier: Courier, headers: bytes) -> None:
    reply = exchange(courier, answering(b"HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n" % headers))
    assert (reply.status_code, reply.error) == (200, None)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"X: \x00\r\n", id="NUL"),
        pytest.param(b"Content-Length: 1\r\nContent-Length: 2\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", id="length and chunked"),
        pytest.param(b"X: 1\r\n" * 100_000, id="endless headers"),
        pytest.param(b"X: " + b"y" * 400_000 + b"\r\n", id="endless header"),
    ],
)
def test_H5_broken_headers_have_one_reply_and_spoil_nothing(courier: Courier, headers: bytes) -> None:
    reply = exchange(courier, once(lambda line: line.send(b"HTTP/1.1 200 OK\r\n%s\r\n" % headers)))
    assert reply.error in {None, ErrorClass.PROTOCOL}
    assert exchange(courier, answering(OK)).error is None


def test_H6_random_bytes_stay_bytes(courier: Courier) -> None:
    noise = bytes(range(256))
    assert (
        exchange(courier, answering(b"HTTP/1.1 200 OK\r\nContent-Length: 256\r\n\r\n" + noise)).body == noise
    )


# The environment


def test_H8_proxies_netrc_and_cookies_have_no_effect(
    make: MakeCourier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password hush\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    heads: list[bytes] = []

    def cookies(line: Line) -> None:
        while (request := line.read_request()) is not None:
            heads.append(request.lower())
            line.send(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"))

    with Chaos(cookies) as receiver, Chaos(answering(OK)) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        courier = make()
        for _ in range(2):
            assert send(courier, f"http://127.0.0.1:{receiver.port}/").error is None
        assert proxy.connections == 0
    assert not any(word in head for head in heads for word in (b"cookie", b"authorization", b"proxy"))


# Connections that end


def test_H9_a_kept_connection_closed_while_idle_costs_nothing(courier: Courier) -> None:
    with Chaos(once(lambda line: line.send(OK))) as receiver:
        replies = [send(courier, f"http://127.0.0.1:{receiver.port}/") for _ in range(5)]
    assert [reply.error for reply in replies] == [None] * 5


def test_H9_a_peer_that_reads_and_closes_is_sent_to_again_once_at_most(courier: Courier) -> None:
    asked = threading.Semaphore(0)
    settled = threading.Event()
    warm = threading.Barrier(6)

    def read_all_and_close(line: Line) -> None:
        if line.read_request() is None:
            return
        if not settled.is_set():
            warm.wait(timeout=10)
            line.send(OK)
            if line.read_request() is None:
                return
        asked.release()

    with Chaos(read_all_and_close) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        for _ in range(6):
            courier.submit(parcel(url))
        assert {courier.results.get(timeout=10).error for _ in range(6)} == {None}
        settled.set()
        reply = send(courier, url)
    assert reply.error in {ErrorClass.PROTOCOL, ErrorClass.CONNECT}
    assert 1 <= sum(asked.acquire(blocking=False) for _ in range(10)) <= 2


def test_running_out_of_files_is_said_so(courier: Courier, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_args: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("relay.net.guard.Guard.open_socket", no_more)
    reply = send(courier, "http://127.0.0.1:1/")
    assert reply.error is ErrorClass.CONNECT
    assert "too many files open" in (reply.detail or "")


def test_a_port_where_nothing_listens_is_said_so(courier: Courier) -> None:
    reply = send(courier, "http://127.0.0.1:1/")
    assert reply.error is ErrorClass.CONNECT
    assert "nothing listens" in (reply.detail or "")


# Addresses and names


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1/", "http://169.254.169.254/latest", "https://[fe80::1]/", "http://[2001:db8::1]/"),
        *(
            "http://2130706433/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://a@127.0.0.1/",
            "ftp://h/",
        ),
    ],
)
def test_S1_forbidden_hosts_are_never_connected_to(courier: Courier, url: str) -> None:
    reply = send(courier, url)
    assert (reply.error, reply.status_code) == (ErrorClass.BLOCKED_ADDRESS, None)
    assert reply.detail


def test_S1_names_are_judged_by_every_address(make: MakeCourier) -> None:
    script = {
        "private.test": ["10.0.0.1"],
        "mixed.test": ["127.0.0.1", "192.168.1.1"],
        "good.test": ["127.0.0.1"],
    }
    with NameServer(script) as names, Chaos(answering(OK)) as receiver:
        courier = make(dns=(names.address,))
        replies = {host: send(courier, f"http://{host}:{receiver.port}/") for host in script}
    assert replies["good.test"].error is None
    assert replies["private.test"].error is ErrorClass.BLOCKED_ADDRESS
    assert "resolves to 10.0.0.1, which is private" in (replies["private.test"].detail or "")
    assert replies["mixed.test"].error is ErrorClass.BLOCKED_ADDRESS


def test_S1_a_socket_to_a_forbidden_address_is_refused_even_if_a_name_slipped_through(
    courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.resolver.Resolver._judged", lambda _self, _host, found: _found(found))
    reply = send(courier, "http://10.0.0.1/")
    assert reply.error is ErrorClass.BLOCKED_ADDRESS
    assert "the connection would go to 10.0.0.1" in (reply.detail or "")


def _found(addresses: list[str]) -> object:
    from relay.net.resolver import Found  # noqa: PLC0415 - only this white-box test needs it

    return Found(tuple(addresses))


def test_a_changed_answer_is_used(make: MakeCourier) -> None:
    closing = once(lambda line: line.send(OK.replace(b"200", b"201")))
    with NameServer({"moves.test": ["127.0.0.1"]}, ttl=0) as names, Chaos(closing) as receiver:
        courier = make(dns=(names.address,))
        url = f"http://moves.test:{receiver.port}/"
        assert send(courier, url).status_code == 201
        names.script["moves.test"] = ["127.0.0.7"]
        moved = send(courier, url)
    assert moved.error is ErrorClass.CONNECT


def test_ipv6_receivers_are_reached_by_literal_and_by_name(make: MakeCourier) -> None:
    with NameServer({"six.test": ["::1"]}) as names, Chaos(answering(OK), host="::1") as receiver:
        courier = make(dns=(names.address,))
        for host in ("[::1]", "six.test"):
            assert send(courier, f"http://{host}:{receiver.port}/").error is None


def test_names_of_the_hosts_file_are_answered_at_once(courier: Courier) -> None:
    started = monotonic()
    with Chaos(answering(OK)) as receiver:
        for _ in range(10):
            assert send(courier, f"http://localhost:{receiver.port}/").error is None
    assert monotonic() - started < 2


def test_a_name_server_that_refuses_is_reported_at_once(make: MakeCourier) -> None:
    started = monotonic()
    reply = send(make(dns=("127.0.0.1:1",)), "http://some.test/")
    assert reply.error is ErrorClass.DNS
    assert monotonic() - started < 2


def test_a_name_with_a_dead_first_address_is_reached_by_the_second(make: MakeCourier) -> None:
    with NameServer({"two.test": ["127.0.0.9", "127.0.0.1"]}) as names, Chaos(answering(OK)) as receiver:
        reply = send(make(dns=(names.address,)), f"http://two.test:{receiver.port}/")
    assert reply.error is None


def test_a_name_that_does_not_exist(make: MakeCourier) -> None:
    with NameServer({}) as names:
        reply = send(make(dns=(names.address,)), "http://nowhere.test/")
    assert (reply.error, reply.detail) == (
        ErrorClass.DNS,
        "the name nowhere.test does not exist, or has no address",
    )


def test_H11_a_name_server_that_never_answers_ends_within_the_deadline(make: MakeCourier) -> None:
    with NameServer({"silent.test": Says.NOTHING}) as names:
        started = monotonic()
        reply = send(make(dns=(names.address,)), "http://silent.test/", deadline=1)
    assert (reply.error, reply.detail) == (
        ErrorClass.DNS,
        "no name server answered the question for silent.test within 1 s",
    )
    assert 0.9 < monotonic() - started < 2


def test_I6_a_thousand_names_that_never_resolve_delay_no_other(make: MakeCourier) -> None:
    script: dict[str, list[str] | Says] = {f"hung{n}.test": Says.NOTHING for n in range(1000)}
    script |= {f"good{n}.test": ["127.0.0.1"] for n in range(20)}
    with NameServer(script) as names, Chaos(answering(OK)) as receiver:
        courier = make(dns=(names.address,))
        for n in range(1000):
            courier.submit(parcel(f"http://hung{n}.test/", id=f"hung{n}", deadline=3))
        started = monotonic()
        for n in range(20):
            courier.submit(parcel(f"http://good{n}.test:{receiver.port}/", id=f"good{n}"))
        first = [courier.results.get(timeout=10) for _ in range(20)]
        took = monotonic() - started
        rest = [courier.results.get(timeout=10) for _ in range(1000)]
    assert {reply.key for reply in first} == {f"good{n}" for n in range(20)}
    assert took < 2
    assert {reply.error for reply in rest} == {ErrorClass.DNS}
    assert monotonic() - started < 5


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def over_tls(courier: Courier, context: ssl.SSLContext) -> Reply:
    with Chaos(answering(OK), tls=context) as receiver:
        return send(courier, f"https://127.0.0.1:{receiver.port}/")


def test_tls_with_our_own_authority(make: MakeCourier, authority: trustme.CA, ca_file: Path) -> None:
    courier = make(ca_file=ca_file)
    assert over_tls(courier, server_context(authority.issue_cert("127.0.0.1"))).error is None


def test_tls_connections_are_reused(make: MakeCourier, authority: trustme.CA, ca_file: Path) -> None:
    courier = make(ca_file=ca_file)
    with Chaos(answering(OK), tls=server_context(authority.issue_cert("127.0.0.1"))) as receiver:
        replies = [send(courier, f"https://127.0.0.1:{receiver.port}/") for _ in range(5)]
        assert receiver.connections == 1
    assert {reply.error for reply in replies} == {None}


def refused(reply: Reply, words: str) -> bool:
    return reply.error is ErrorClass.TLS and reply.status_code is None and words in (reply.detail or "")


def test_H10_an_unknown_authority(courier: Courier, authority: trustme.CA) -> None:
    assert refused(
        over_tls(courier, server_context(authority.issue_cert("127.0.0.1"))), "not signed by an authority"
    )


def test_H10_an_expired_certificate(make: MakeCourier, authority: trustme.CA, ca_file: Path) -> None:
    past = datetime.now(tz=UTC) - timedelta(days=1)
    context = server_context(authority.issue_cert("127.0.0.1", not_after=past))
    assert refused(over_tls(make(ca_file=ca_file), context), "has expired")


def test_H10_a_certificate_for_another_host(make: MakeCourier, authority: trustme.CA, ca_file: Path) -> None:
    context = server_context(authority.issue_cert("other.test"))
    assert refused(over_tls(make(ca_file=ca_file), context), "another host name")


def test_H10_a_self_signed_certificate(courier: Courier, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "own.pem"))
    assert refused(over_tls(courier, context), "self-signed")


def self_signed(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def test_H10_tls_that_is_too_old(make: MakeCourier, authority: trustme.CA, ca_file: Path) -> None:
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.deprecated_call():
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert refused(over_tls(make(ca_file=ca_file), context), "too old")


def test_H10_a_port_that_speaks_no_tls(courier: Courier) -> None:
    with Chaos(lambda line: line.send(OK)) as receiver:
        assert refused(send(courier, f"https://127.0.0.1:{receiver.port}/"), "does not speak TLS")


def test_a_handshake_that_hangs_ends_with_the_connect_timeout(make: MakeCourier) -> None:
    started = monotonic()
    with Chaos(lambda line: line.hang()) as receiver:
        reply = send(make(connect_timeout=0.5), f"https://127.0.0.1:{receiver.port}/")
    assert (reply.error, reply.detail) == (ErrorClass.TIMEOUT, "no connection could be made within 0.5 s")
    assert monotonic() - started < 2


# Stopping


def test_stopping_lets_what_is_in_flight_end(courier: Courier) -> None:
    asked, go = threading.Event(), threading.Event()

    def wait(line: Line) -> None:
        if line.read_request() is not None:
            asked.set()
            go.wait(10)
            line.send(OK)

    with Chaos(wait) as receiver:
        courier.submit(parcel(f"http://127.0.0.1:{receiver.port}/"))
        assert asked.wait(10)
        stopping = threading.Thread(target=courier.stop, args=(10,))
        stopping.start()
        go.set()
        stopping.join(10)
    assert courier.results.get_nowait().error is None


def test_stopping_answers_what_will_not_end_as_lost(make: MakeCourier) -> None:
    with (
        NameServer({"silent.test": Says.NOTHING}) as names,
        Chaos(once(lambda line: line.hang())) as receiver,
    ):
        courier = make(dns=(names.address,))
        for url in (f"http://127.0.0.1:{receiver.port}/", "http://silent.test/"):
            for _ in range(10):
                courier.submit(parcel(url))
        started = monotonic()
        courier.stop(0.3)
    assert monotonic() - started < 2
    assert [courier.results.get_nowait().error for _ in range(20)] == [ErrorClass.LOST] * 20
    assert courier.idle
    with pytest.raises(RuntimeError):
        courier.submit(parcel("http://127.0.0.1/"))


def test_a_courier_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(b"")
    courier = Courier(allow=(), ca_file=ca_file, dns_servers=(), max_in_flight=1)
    with pytest.raises(RuntimeError):
        courier.submit(parcel("http://127.0.0.1/"))
    courier.stop(0)


def test_a_surprise_in_the_loop_costs_what_is_in_flight_and_no_more(
    courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        with monkeypatch.context() as patch:
            patch.setattr("relay.net.transfer.Transfer.reply", lambda *_args: 1 / 0)
            assert send(courier, url).error is ErrorClass.INTERNAL
        assert send(courier, url).error is None
