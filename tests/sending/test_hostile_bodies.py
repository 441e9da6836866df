"""Dripped, endless and compressed answers: they cost their own attempt, and no memory (H1 and H2).

Each act is done over plain HTTP and over TLS, and means the same.
"""

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import monotonic

import pytest

from relay.common.states import ErrorClass
from tests.support.chaos import Connection, once
from tests.support.sender_client import Route, outbound_request, send

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

# H1: dripped and endless.


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda connection: connection.hang(), ErrorClass.TIMEOUT, id="nothing"),
        pytest.param(
            lambda connection: connection.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50, 0.05),
            ErrorClass.TIMEOUT,
            id="headers dripped",
        ),
        pytest.param(
            lambda connection: connection.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.01),
            ErrorClass.TIMEOUT,
            id="100 dripped",
        ),
        pytest.param(
            lambda connection: connection.flood(b"HTTP/1.1 100 Continue\r\n\r\n"),
            ErrorClass.PROTOCOL,
            id="flood of 100",
        ),
    ],
)
def test_H1_no_whole_headers_end_within_the_deadline(
    route: Route, act: Callable[[Connection], None], error: ErrorClass
) -> None:
    started = monotonic()
    reply = route.exchange(once(act), deadline=1.0)
    assert monotonic() - started < 2
    assert (reply.status_code, reply.error) == (None, error)


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda connection: connection.drip(b"x" * 500, 0.1), id="body dripped"),
        pytest.param(lambda connection: connection.drip(b"1\r\nx\r\n" * 100, 0.05), id="chunks dripped"),
        pytest.param(
            lambda connection: connection.flood(b"1000\r\n" + b"x" * 4096 + b"\r\n"), id="endless chunks"
        ),
        pytest.param(lambda connection: connection.hang(), id="no body"),
    ],
)
def test_H1_a_500_with_an_endless_body_counts_within_the_deadline(
    route: Route, act: Callable[[Connection], None]
) -> None:
    def answer(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 500 X\r\n" + CHUNKED)
        act(connection)

    started = monotonic()
    reply = route.exchange(once(answer), deadline=1.0)
    assert monotonic() - started < 2
    assert (reply.status_code, reply.error) == (500, ErrorClass.HTTP_5XX)
    assert len(reply.body) <= 16 * 1024


def test_H1_a_2xx_whose_body_drips_counts_after_two_seconds(route: Route) -> None:
    def answer(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        connection.drip(b"x" * 900, 0.05)

    started = monotonic()
    reply = route.exchange(once(answer), deadline=15)
    assert 1.9 < monotonic() - started < 3
    assert (reply.status_code, reply.error) == (200, None)
    assert set(reply.body) == set(b"x")


# H2: huge bodies and compression bombs.

MANY = 20  # answers at once
GROWTH = 10 << 20  # bytes that all of them together may cost


def memory(pid: int, what: str) -> int:
    """Bytes of a process: VmRSS is what it holds, VmHWM its most since `forget_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM to VmRSS


@cache
def squeezed(rounds: int) -> bytes:
    """100 MB of zeros, gzipped so many times over."""
    packer = zlib.compressobj(9, wbits=31)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    for _ in range(rounds - 1):
        packer = zlib.compressobj(9, wbits=31)
        data = packer.compress(data) + packer.flush()
    return data


def huge(connection: Connection) -> None:
    connection.send(b"Content-Length: 400000000\r\n\r\n")
    for _ in range(400_000_000 // (1 << 16)):
        connection.send(bytes(1 << 16))


def gzip_bomb(connection: Connection) -> None:
    body = squeezed(1)
    connection.send(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def double_bomb(connection: Connection) -> None:
    body = squeezed(2)
    connection.send(b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(("status", "limit"), [(200, 1024), (500, 16 * 1024)])
@pytest.mark.parametrize("act", [huge, gzip_bomb, double_bomb])
def test_H2_no_body_costs_memory_and_none_is_unpacked(
    route: Route, act: Callable[[Connection], None], status: int, limit: int
) -> None:
    def answer(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 %d X\r\n" % status)
        act(connection)

    for rounds in (1, 2):
        squeezed(rounds)  # made before the clock runs: it takes seconds
    started = monotonic()
    with route.receiver(once(answer)) as receiver:
        assert (
            send(route.sender_client, receiver.url).status_code == status
        )  # libraries are loaded, pools are filled
        forget_peak(route.sender_client.pid)
        before = memory(route.sender_client.pid, "VmRSS")
        for n in range(MANY):
            route.sender_client.submit(outbound_request(receiver.url, key=str(n), deadline=30.0))
        replies = [route.sender_client.reply(60) for _ in range(MANY)]
        growth = memory(route.sender_client.pid, "VmHWM") - before
    assert {reply.status_code for reply in replies} == {status}
    assert max(len(reply.body) for reply in replies) <= limit
    assert growth < GROWTH
    assert monotonic() - started < 20


def test_H2_nothing_is_decoded_or_asked_to_be_encoded(route: Route) -> None:
    heads: list[bytes] = []
    packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"

    def answer(connection: Connection) -> None:
        heads.append(connection.read_request() or b"")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n" + packed)

    assert route.exchange(answer).body == packed
    assert b"accept-encoding" not in heads[0].lower()
