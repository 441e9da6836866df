"""The sender client: what goes out, what comes back, one reply to each request whatever happens."""

import json
import resource
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path
from time import monotonic

import pytest

from relay.common.states import ErrorClass
from relay.common.time import US_PER_SECOND
from relay.sending.rules.signature import sign
from tests.support.chaos import Chaos, Connection, answering, once
from tests.support.dns import NameServer
from tests.support.sender_client import KEY, OK, MakeSenderClient, OneByOne, exchange, outbound_request, send

# What goes out and comes back


def test_a_2xx_is_success_and_its_body_is_kept(sender_client: OneByOne) -> None:
    reply = exchange(sender_client, answering(OK))
    assert (reply.key, reply.status_code, reply.error, reply.detail) == ("msg_1", 200, None, None)
    assert reply.body == b"ok"
    assert 0 < reply.duration < 10 * US_PER_SECOND


def test_exactly_the_given_bytes_are_sent(sender_client: OneByOne) -> None:
    requests: list[bytes] = []

    def keep(connection: Connection) -> None:
        while (received := connection.read_request()) is not None:
            requests.append(received)
            connection.send(OK)

    content = json.dumps("".join(map(chr, range(0x20, 0x3000))) * 4, ensure_ascii=False)
    request = outbound_request("http://127.0.0.1", content=content, headers=(("x-own", "1"), ("x-empty", "")))
    with Chaos(keep) as receiver:
        sender_client.submit(
            request._replace(url=f"http://127.0.0.1:{receiver.port}/a/../b%20c?x[]={{1}}&y=%zz")
        )
        assert sender_client.reply().error is None
        host = f"127.0.0.1:{receiver.port}"
    head, _, sent = requests[0].partition(b"\r\n\r\n")
    body = f'{{"type":"relay.test","timestamp":"1970-01-01T00:00:00.000Z","data":{content}}}'.encode()
    assert sent == body
    assert head.decode().split("\r\n") == [
        "POST /a/../b%20c?x[]={1}&y=%zz HTTP/1.1",
        f"Host: {host}",
        "Accept: */*",
        "content-type: application/json",
        "user-agent: relay/test",
        "webhook-id: msg_1",
        "webhook-timestamp: 1700000000",
        f"webhook-signature: {sign([KEY], 'msg_1', 1_700_000_000, body)}",
        "x-own: 1",
        "x-empty:",
        f"Content-Length: {len(body)}",
    ]


def test_connections_are_kept_and_reused(sender_client: OneByOne) -> None:
    with Chaos(answering(OK)) as receiver:
        for _ in range(20):
            assert send(sender_client, f"http://127.0.0.1:{receiver.port}/").error is None
        assert receiver.connections == 1


def test_a_large_body_is_sent_whole(sender_client: OneByOne) -> None:
    sizes: list[int] = []

    def measure(connection: Connection) -> None:
        sizes.append(len(connection.read_request() or b""))
        connection.send(OK)

    with Chaos(measure) as receiver:
        assert (
            send(
                sender_client, f"http://127.0.0.1:{receiver.port}/", content=json.dumps("x" * (1 << 20))
            ).error
            is None
        )
    assert sizes[0] > 1 << 20


def test_200_transfers_run_at_once(sender_client: OneByOne) -> None:
    together = threading.Barrier(200)

    def meet(connection: Connection) -> None:
        if connection.read_request() is not None:
            together.wait(timeout=20)
            connection.send(OK)

    with Chaos(meet) as receiver:
        for n in range(200):
            sender_client.submit(
                outbound_request(f"http://127.0.0.1:{receiver.port}/{n}", key=f"msg_{n}", deadline=20)
            )
        replies = [sender_client.reply(30) for _ in range(200)]
    assert {reply.key for reply in replies} == {f"msg_{n}" for n in range(200)}
    assert {reply.error for reply in replies} == {None}


def test_every_request_has_exactly_one_reply(sender_client: OneByOne) -> None:
    kinds = ["http://127.0.0.1:{port}/{n}", "http://127.0.0.1:1/{n}", "http://10.0.0.1/{n}", "nonsense{n}"]
    with Chaos(answering(OK)) as receiver:
        for start in range(0, 2000, 50):
            numbers = range(start, start + 50)
            urls = [kinds[n % 4].format(port=receiver.port, n=n) for n in numbers]
            sender_client.submit(
                *(outbound_request(url, key=str(n)) for n, url in zip(numbers, urls, strict=True))
            )
        replies = [sender_client.reply() for _ in range(2000)]
    assert sorted(int(reply.key) for reply in replies) == list(range(2000))
    with pytest.raises(TimeoutError):
        sender_client.reply(0.05)


def test_replies_wait_while_nobody_takes_them_and_requests_leave_all_the_same(
    sender_client: OneByOne,
) -> None:
    """As when SQL holds the dispatcher up: far more than a socket's buffer holds, both ways."""
    answer = b"HTTP/1.1 500 X\r\nContent-Length: 16384\r\n\r\n" + bytes(16384)
    with Chaos(answering(answer)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        for n in range(200):
            sender_client.submit(outbound_request(url, key=str(n), content=json.dumps("x" * (1 << 16))))
        replies = [sender_client.reply() for _ in range(200)]
    assert {(reply.status_code, len(reply.body)) for reply in replies} == {(500, 16384)}


def test_a_request_that_our_code_fails_on_fails_alone_and_shows_no_header(sender_client: OneByOne) -> None:
    with Chaos(answering(OK)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        sender_client.submit(outbound_request(url, key="bad", headers=(("x-key", "hush\r\nx: y"),)))
        sender_client.submit(outbound_request(url, key="wide", headers=(("x-key", "hush\u20ac"),)))
        sender_client.submit(outbound_request(url))
        replies = {reply.key: reply for reply in (sender_client.reply(10) for _ in range(3))}
    assert replies["msg_1"].error is None
    for name in ("bad", "wide"):
        assert replies[name].error is ErrorClass.INTERNAL
        assert "hush" not in repr(replies[name])


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
def test_retry_after_is_kept_raw_and_bounded(sender_client: OneByOne, lines: bytes, kept: str | None) -> None:
    reply = exchange(sender_client, answering(b"HTTP/1.1 503 X\r\n%sContent-Length: 0\r\n\r\n" % lines))
    assert reply.retry_after == kept


# Connections that are not made


def test_running_out_of_files_is_said_so(sender_client: OneByOne) -> None:
    assert send(sender_client, "http://127.0.0.1:1/").error is ErrorClass.CONNECT  # it has started
    opened = {int(path.name) for path in Path(f"/proc/{sender_client.pid}/fd").iterdir()}
    first_free = next(fd for fd in count() if fd not in opened)
    resource.prlimit(sender_client.pid, resource.RLIMIT_NOFILE, (first_free, first_free))
    reply = send(sender_client, "http://127.0.0.1:1/")
    assert reply.error is ErrorClass.CONNECT
    assert "too many files open" in (reply.detail or "")


def test_a_port_where_nothing_listens_is_said_so(sender_client: OneByOne) -> None:
    reply = send(sender_client, "http://127.0.0.1:1/")
    assert reply.error is ErrorClass.CONNECT
    assert "nothing listens" in (reply.detail or "")


# Addresses and names


def test_a_changed_answer_is_used(make_sender_client: MakeSenderClient) -> None:
    closing = once(lambda connection: connection.send(OK.replace(b"200", b"201")))
    with NameServer({"moves.test": ["127.0.0.1"]}, ttl=0) as names, Chaos(closing) as receiver:
        sender_client = make_sender_client(dns=(names.address,))
        url = f"http://moves.test:{receiver.port}/"
        assert send(sender_client, url).status_code == 201
        names.script["moves.test"] = ["127.0.0.7"]
        moved = send(sender_client, url)
    assert moved.error is ErrorClass.CONNECT


def test_ipv6_receivers_are_reached_by_literal_and_by_name(make_sender_client: MakeSenderClient) -> None:
    with NameServer({"six.test": ["::1"]}) as names, Chaos(answering(OK), host="::1") as receiver:
        sender_client = make_sender_client(dns=(names.address,))
        for host in ("[::1]", "six.test"):
            assert send(sender_client, f"http://{host}:{receiver.port}/").error is None


def test_names_of_the_hosts_file_are_answered_at_once(sender_client: OneByOne) -> None:
    started = monotonic()
    with Chaos(answering(OK)) as receiver:
        for _ in range(10):
            assert send(sender_client, f"http://localhost:{receiver.port}/").error is None
    assert monotonic() - started < 2


def test_a_name_server_that_refuses_is_reported_at_once(make_sender_client: MakeSenderClient) -> None:
    started = monotonic()
    reply = send(make_sender_client(dns=("127.0.0.1:1",)), "http://some.test/")
    assert reply.error is ErrorClass.DNS
    assert monotonic() - started < 2


def test_a_name_with_a_dead_first_address_is_reached_by_the_second(
    make_sender_client: MakeSenderClient,
) -> None:
    with NameServer({"two.test": ["127.0.0.9", "127.0.0.1"]}) as names, Chaos(answering(OK)) as receiver:
        reply = send(make_sender_client(dns=(names.address,)), f"http://two.test:{receiver.port}/")
    assert reply.error is None


def test_a_name_that_does_not_exist(make_sender_client: MakeSenderClient) -> None:
    with NameServer({}) as names:
        reply = send(make_sender_client(dns=(names.address,)), "http://nowhere.test/")
    assert (reply.error, reply.detail) == (
        ErrorClass.DNS,
        "the name nowhere.test does not exist, or has no address",
    )


@pytest.mark.processes
def test_a_dispatcher_or_poller_loads_neither_flask_nor_libcurl_nor_alembic() -> None:
    """Without them it takes a fifth less memory, and no parser of strangers' answers is in it."""
    unwanted = {"flask", "werkzeug", "pycurl", "pycares", "alembic"}
    script = f"import sys, relay.cli; print(*{unwanted} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_scheme_that_is_no_longer_allowed_is_refused_before_anything_connects(
    make_sender_client: MakeSenderClient,
) -> None:
    """Its endpoint may have been saved while more was allowed."""
    sender_client = make_sender_client(schemes=("https",))
    with Chaos(answering(OK)) as receiver:
        reply = send(sender_client, f"http://127.0.0.1:{receiver.port}/hook")
        assert receiver.connections == 0
    assert reply.error is ErrorClass.BLOCKED_ADDRESS
    assert reply.detail == "the URL must start with https://"
