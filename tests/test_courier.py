"""The courier: what goes out, what comes back, and one reply to each parcel whatever happens."""

import errno
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from relay.core.records import SECOND, Parcel
from relay.core.states import ErrorClass
from relay.net.courier import Courier
from tests.support_chaos import Chaos, Line, answering, once
from tests.support_courier import OK, MakeCourier, exchange, parcel, send
from tests.support_dns import NameServer, Says

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
            courier.submit(parcel(f"http://127.0.0.1:{receiver.port}/{n}", key=f"msg_{n}", deadline=20))
        replies = [courier.results.get(timeout=30) for _ in range(200)]
    assert {reply.key for reply in replies} == {f"msg_{n}" for n in range(200)}
    assert {reply.error for reply in replies} == {None}


def test_every_parcel_has_exactly_one_reply_from_many_threads(courier: Courier) -> None:
    kinds = ["http://127.0.0.1:{port}/{n}", "http://127.0.0.1:1/{n}", "http://10.0.0.1/{n}", "nonsense{n}"]
    with Chaos(answering(OK)) as receiver:

        def submit(n: int) -> None:
            courier.submit(parcel(kinds[n % 4].format(port=receiver.port, n=n), key=str(n)))

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


# Connections that are not made


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


def test_a_changed_answer_is_used(make_courier: MakeCourier) -> None:
    closing = once(lambda line: line.send(OK.replace(b"200", b"201")))
    with NameServer({"moves.test": ["127.0.0.1"]}, ttl=0) as names, Chaos(closing) as receiver:
        courier = make_courier(dns=(names.address,))
        url = f"http://moves.test:{receiver.port}/"
        assert send(courier, url).status_code == 201
        names.script["moves.test"] = ["127.0.0.7"]
        moved = send(courier, url)
    assert moved.error is ErrorClass.CONNECT


def test_ipv6_receivers_are_reached_by_literal_and_by_name(make_courier: MakeCourier) -> None:
    with NameServer({"six.test": ["::1"]}) as names, Chaos(answering(OK), host="::1") as receiver:
        courier = make_courier(dns=(names.address,))
        for host in ("[::1]", "six.test"):
            assert send(courier, f"http://{host}:{receiver.port}/").error is None


def test_names_of_the_hosts_file_are_answered_at_once(courier: Courier) -> None:
    started = monotonic()
    with Chaos(answering(OK)) as receiver:
        for _ in range(10):
            assert send(courier, f"http://localhost:{receiver.port}/").error is None
    assert monotonic() - started < 2


def test_a_name_server_that_refuses_is_reported_at_once(make_courier: MakeCourier) -> None:
    started = monotonic()
    reply = send(make_courier(dns=("127.0.0.1:1",)), "http://some.test/")
    assert reply.error is ErrorClass.DNS
    assert monotonic() - started < 2


def test_a_name_with_a_dead_first_address_is_reached_by_the_second(make_courier: MakeCourier) -> None:
    with NameServer({"two.test": ["127.0.0.9", "127.0.0.1"]}) as names, Chaos(answering(OK)) as receiver:
        reply = send(make_courier(dns=(names.address,)), f"http://two.test:{receiver.port}/")
    assert reply.error is None


def test_a_name_that_does_not_exist(make_courier: MakeCourier) -> None:
    with NameServer({}) as names:
        reply = send(make_courier(dns=(names.address,)), "http://nowhere.test/")
    assert (reply.error, reply.detail) == (
        ErrorClass.DNS,
        "the name nowhere.test does not exist, or has no address",
    )


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


def test_stopping_answers_what_will_not_end_as_lost(make_courier: MakeCourier) -> None:
    with (
        NameServer({"silent.test": Says.NOTHING}) as names,
        Chaos(once(lambda line: line.hang())) as receiver,
    ):
        courier = make_courier(dns=(names.address,))
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
