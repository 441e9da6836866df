"""What receivers answer, from odd to hostile: it costs their own attempt, and nothing else (H1 to H6).

Each act is done over plain HTTP and over TLS, and means the same.
"""

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import monotonic

import pytest

from relay.common.states import ErrorClass
from tests.support.chaos import Line, answering, once
from tests.support.sender_client import OK, Way, outbound, send

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BROKE = "the connection broke before the answer's headers had come whole"
NOTHING = "the receiver closed the connection without an answer"
CUT = "the receiver closed the connection before the answer's headers had come whole"
NOT_HTTP = "the receiver's answer is not HTTP/1.1 that can be read"
TOO_LARGE = "the answer's headers are too large"

# H1: dripped and endless.


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda line: line.hang(), ErrorClass.TIMEOUT, id="nothing"),
        pytest.param(
            lambda line: line.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50, 0.05),
            ErrorClass.TIMEOUT,
            id="headers dripped",
        ),
        pytest.param(
            lambda line: line.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.01),
            ErrorClass.TIMEOUT,
            id="100 dripped",
        ),
        pytest.param(
            lambda line: line.flood(b"HTTP/1.1 100 Continue\r\n\r\n"), ErrorClass.PROTOCOL, id="flood of 100"
        ),
    ],
)
def test_H1_no_whole_headers_end_within_the_deadline(
    way: Way, act: Callable[[Line], None], error: ErrorClass
) -> None:
    started = monotonic()
    reply = way.exchange(once(act), deadline=1.0)
    assert monotonic() - started < 2
    assert (reply.status_code, reply.error) == (None, error)


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
    way: Way, act: Callable[[Line], None]
) -> None:
    def answer(line: Line) -> None:
        line.send(b"HTTP/1.1 500 X\r\n" + CHUNKED)
        act(line)

    started = monotonic()
    reply = way.exchange(once(answer), deadline=1.0)
    assert monotonic() - started < 2
    assert (reply.status_code, reply.error) == (500, ErrorClass.HTTP_5XX)
    assert len(reply.body) <= 16 * 1024


def test_H1_a_2xx_whose_body_drips_counts_after_two_seconds(way: Way) -> None:
    def answer(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        line.drip(b"x" * 900, 0.05)

    started = monotonic()
    reply = way.exchange(once(answer), deadline=15)
    assert 1.9 < monotonic() - started < 3
    assert (reply.status_code, reply.error) == (200, None)
    assert set(reply.body) == set(b"x")


# H2: huge bodies and compression bombs.

MANY = 20  # answers at once
GROWTH = 10 << 20  # bytes that all of them together may cost


def memory(pid: int | None, what: str) -> int:
    """Bytes of a process: VmRSS is what it holds now, VmHWM the most it held since `forget_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))


def forget_peak(pid: int | None) -> None:
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


def huge(line: Line) -> None:
    line.send(b"Content-Length: 400000000\r\n\r\n")
    for _ in range(400_000_000 // (1 << 16)):
        line.send(bytes(1 << 16))


def gzip_bomb(line: Line) -> None:
    body = squeezed(1)
    line.send(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def double_bomb(line: Line) -> None:
    body = squeezed(2)
    line.send(b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(("status", "limit"), [(200, 1024), (500, 16 * 1024)])
@pytest.mark.parametrize("act", [huge, gzip_bomb, double_bomb])
def test_H2_no_body_costs_memory_and_none_is_unpacked(
    way: Way, act: Callable[[Line], None], status: int, limit: int
) -> None:
    def answer(line: Line) -> None:
        line.send(b"HTTP/1.1 %d X\r\n" % status)
        act(line)

    for rounds in (1, 2):
        squeezed(rounds)  # made before the clock runs: it takes seconds
    started = monotonic()
    with way.receiver(once(answer)) as receiver:
        assert (
            send(way.sender_client, receiver.url).status_code == status
        )  # libraries are loaded, pools are filled
        forget_peak(way.sender_client.pid)
        before = memory(way.sender_client.pid, "VmRSS")
        for n in range(MANY):
            way.sender_client.submit(outbound(receiver.url, key=str(n), deadline=30.0))
        replies = [way.sender_client.reply(60) for _ in range(MANY)]
        growth = memory(way.sender_client.pid, "VmHWM") - before
    assert {reply.status_code for reply in replies} == {status}
    assert max(len(reply.body) for reply in replies) <= limit
    assert growth < GROWTH
    assert monotonic() - started < 20


def test_H2_nothing_is_decoded_or_asked_to_be_encoded(way: Way) -> None:
    heads: list[bytes] = []
    packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"

    def answer(line: Line) -> None:
        heads.append(line.read_request() or b"")
        line.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n" + packed)

    assert way.exchange(answer).body == packed
    assert b"accept-encoding" not in heads[0].lower()


# H3: answers cut short.


def announced_more(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")


def reset_in_the_body(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    line.reset()


def broken_chunks(line: Line) -> None:
    line.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"zz\r\nnonsense")


@pytest.mark.parametrize("act", [announced_more, reset_in_the_body, broken_chunks])
def test_H3_a_2xx_whose_headers_came_whole_is_success(way: Way, act: Callable[[Line], None]) -> None:
    reply = way.exchange(once(act))
    assert (reply.status_code, reply.error) == (200, None)


def leave(_line: Line) -> None:
    """Say nothing more: over TLS not even goodbye, as of a process that died."""


Ending = Callable[[Line], None]
both_endings = pytest.mark.parametrize("ending", [leave, Line.say_goodbye])


@both_endings
@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        pytest.param(b"", NOTHING, id="nothing"),
        pytest.param(b"HTTP", NOTHING, id="half a word"),
        pytest.param(b"HTTP/1.1 20", NOTHING, id="half a status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", CUT, id="a status line alone"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", CUT, id="half a header"),
        pytest.param(b"\x00\xff\xfe nonsense", NOT_HTTP, id="noise"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", NOT_HTTP, id="another protocol"),
        pytest.param(b"<html></html>", NOT_HTTP, id="HTTP/0.9"),
    ],
)
def test_H3_anything_less_than_whole_headers_is_a_failure(
    way: Way, sent: bytes, detail: str, ending: Ending
) -> None:
    def act(line: Line) -> None:
        line.send(sent)
        ending(line)

    reply = way.exchange(once(act))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.PROTOCOL, detail)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConte"])
def test_H3_a_reset_before_the_headers_are_whole_is_a_failure(way: Way, sent: bytes) -> None:
    def act(line: Line) -> None:
        line.send(sent)
        line.reset()

    reply = way.exchange(once(act))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.CONNECT, BROKE)


# H4: odd statuses.


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((200, None), (201, None), (202, None), (204, None), (299, None)),
        *((300, ErrorClass.REDIRECT), (304, ErrorClass.REDIRECT), (400, ErrorClass.HTTP_4XX)),
        *((410, ErrorClass.HTTP_4XX), (429, ErrorClass.HTTP_4XX), (500, ErrorClass.HTTP_5XX)),
        *((503, ErrorClass.HTTP_5XX), (600, ErrorClass.HTTP_OTHER), (999, ErrorClass.HTTP_OTHER)),
    ],
)
def test_H4_a_status_decides(way: Way, status: int, error: ErrorClass | None) -> None:
    reply = way.exchange(answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert (reply.status_code, reply.error) == (status, error)
    assert (reply.detail is None) == (error is None)


@pytest.mark.parametrize("status", [b"000", b"099", b"2000"])
def test_H4_digits_that_are_no_status_are_a_failure(way: Way, status: bytes) -> None:
    answer = b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status
    reply = way.exchange(once(lambda line: line.send(answer)))
    assert reply.error is ErrorClass.HTTP_OTHER


@pytest.mark.parametrize("status", [b"2", b"20", b"20x", b"-20", b"+200", b"\xb2\xb0\xb0"])
def test_H4_a_status_that_is_no_number_is_a_failure(way: Way, status: bytes) -> None:
    answer = b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status
    reply = way.exchange(once(lambda line: line.send(answer)))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.PROTOCOL, NOT_HTTP)


def test_H4_a_102_then_a_204_is_success(way: Way) -> None:
    interim = b"HTTP/1.1 102 Processing\r\nRetry-After: 9\r\n\r\n"
    reply = way.exchange(answering(interim + b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (reply.status_code, reply.error, reply.retry_after) == (204, None, None)


@both_endings
def test_H4_nothing_after_a_102_is_a_failure(way: Way, ending: Ending) -> None:
    def act(line: Line) -> None:
        line.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        ending(line)

    reply = way.exchange(once(act))
    assert (reply.status_code, reply.error) == (102, ErrorClass.HTTP_1XX)


def test_H4_a_204_with_a_body_spoils_no_later_answer(way: Way) -> None:
    with way.receiver(
        answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nHTTP/1.1 ")
    ) as receiver:
        replies = [send(way.sender_client, receiver.url) for _ in range(3)]
    assert [(reply.status_code, reply.error, reply.body) for reply in replies] == [(204, None, b"")] * 3


# H5: odd and broken headers. H6: any bytes.


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"X: 1\r\n" * 150, id="150 headers"),
        pytest.param(b"X: " + b"y" * 65_536 + b"\r\n", id="64 KiB header"),
        pytest.param(b"X: 1\r\n folded\r\n\tagain\r\n", id="folded"),
        pytest.param(b"X: \x01\xff\r\n", id="control"),
    ],
)
def test_H5_odd_headers_are_borne(way: Way, headers: bytes) -> None:
    reply = way.exchange(answering(b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok" % headers))
    assert (reply.status_code, reply.error, reply.body) == (200, None, b"ok")


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        pytest.param(b"X: \x00\r\n", NOT_HTTP, id="NUL"),
        pytest.param(b"Content-Length: 1\r\nContent-Length: 2\r\n", NOT_HTTP, id="two lengths"),
        pytest.param(b"Content-Length: -1\r\n", NOT_HTTP, id="negative length"),
        pytest.param(b"no colon\r\n", NOT_HTTP, id="no colon"),
        pytest.param(b"X: 1\r\n" * 100_000, TOO_LARGE, id="endless headers"),
        pytest.param(b"X: " + b"y" * 400_000 + b"\r\n", TOO_LARGE, id="endless header"),
    ],
)
def test_H5_broken_headers_are_a_failure_that_spoils_nothing(way: Way, headers: bytes, detail: str) -> None:
    reply = way.exchange(once(lambda line: line.send(b"HTTP/1.1 200 OK\r\n%s\r\n" % headers)))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.PROTOCOL, detail)
    assert way.exchange(answering(OK)).error is None


def test_H5_of_length_and_chunked_the_chunks_count(way: Way) -> None:
    """RFC 9112, section 6.3; a later answer on the connection is not read from the middle of this one."""
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + CHUNKED + b"2\r\nok\r\n0\r\n\r\n"
    with way.receiver(answering(both)) as receiver:
        replies = [send(way.sender_client, receiver.url) for _ in range(3)]
    assert [(reply.status_code, reply.error, reply.body) for reply in replies] == [(200, None, b"ok")] * 3


def test_H6_random_bytes_stay_bytes(way: Way) -> None:
    noise = bytes(range(256))
    reply = way.exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 256\r\n\r\n" + noise))
    assert reply.body == noise
