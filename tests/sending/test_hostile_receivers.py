"""Odd and hostile answers: they cost their own attempt, and nothing else (H3 to H6).

Each act is done over plain HTTP and over TLS, and means the same.
"""

from collections.abc import Callable

import pytest

from relay.common.states import ErrorClass
from tests.support.chaos import Connection, answering, once
from tests.support.sender_client import OK, Route, send

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BROKE = "the connection broke before the answer's headers had come whole"
NOTHING = "the receiver closed the connection without an answer"
CUT = "the receiver closed the connection before the answer's headers had come whole"
NOT_HTTP = "the receiver's answer is not HTTP/1.1 that can be read"
TOO_LARGE = "the answer's headers are too large"

# H3: answers cut short.


def announced_more(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")


def reset_in_the_body(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    connection.reset()


def broken_chunks(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"zz\r\nnonsense")


@pytest.mark.parametrize("act", [announced_more, reset_in_the_body, broken_chunks])
def test_H3_a_2xx_whose_headers_came_whole_is_success(
    route: Route, act: Callable[[Connection], None]
) -> None:
    reply = route.exchange(once(act))
    assert (reply.status_code, reply.error) == (200, None)


def leave(_connection: Connection) -> None:
    """Send nothing more: over TLS not even close_notify, as of a process that died."""


Ending = Callable[[Connection], None]
both_endings = pytest.mark.parametrize("ending", [leave, Connection.say_goodbye])


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
    route: Route, sent: bytes, detail: str, ending: Ending
) -> None:
    def act(connection: Connection) -> None:
        connection.send(sent)
        ending(connection)

    reply = route.exchange(once(act))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.PROTOCOL, detail)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConte"])
def test_H3_a_reset_before_the_headers_are_whole_is_a_failure(route: Route, sent: bytes) -> None:
    def act(connection: Connection) -> None:
        connection.send(sent)
        connection.reset()

    reply = route.exchange(once(act))
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
def test_H4_a_status_decides(route: Route, status: int, error: ErrorClass | None) -> None:
    reply = route.exchange(answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status))
    assert (reply.status_code, reply.error) == (status, error)
    assert (reply.detail is None) == (error is None)


@pytest.mark.parametrize("status", [b"000", b"099", b"2000"])
def test_H4_digits_that_are_no_status_are_a_failure(route: Route, status: bytes) -> None:
    answer = b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status
    reply = route.exchange(once(lambda connection: connection.send(answer)))
    assert reply.error is ErrorClass.HTTP_OTHER


@pytest.mark.parametrize("status", [b"2", b"20", b"20x", b"-20", b"+200", b"\xb2\xb0\xb0"])
def test_H4_a_status_that_is_no_number_is_a_failure(route: Route, status: bytes) -> None:
    answer = b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status
    reply = route.exchange(once(lambda connection: connection.send(answer)))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.PROTOCOL, NOT_HTTP)


def test_H4_a_102_then_a_204_is_success(route: Route) -> None:
    interim = b"HTTP/1.1 102 Processing\r\nRetry-After: 9\r\n\r\n"
    reply = route.exchange(answering(interim + b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (reply.status_code, reply.error, reply.retry_after) == (204, None, None)


@both_endings
def test_H4_nothing_after_a_102_is_a_failure(route: Route, ending: Ending) -> None:
    def act(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        ending(connection)

    reply = route.exchange(once(act))
    assert (reply.status_code, reply.error) == (102, ErrorClass.HTTP_1XX)


def test_H4_a_204_with_a_body_spoils_no_later_answer(route: Route) -> None:
    with route.receiver(
        answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\nHTTP/1.1 ")
    ) as receiver:
        replies = [send(route.sender_client, receiver.url) for _ in range(3)]
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
def test_H5_odd_headers_are_borne(route: Route, headers: bytes) -> None:
    reply = route.exchange(answering(b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\nok" % headers))
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
def test_H5_broken_headers_are_a_failure_that_spoils_nothing(
    route: Route, headers: bytes, detail: str
) -> None:
    reply = route.exchange(once(lambda connection: connection.send(b"HTTP/1.1 200 OK\r\n%s\r\n" % headers)))
    assert (reply.status_code, reply.error, reply.detail) == (None, ErrorClass.PROTOCOL, detail)
    assert route.exchange(answering(OK)).error is None


def test_H5_of_length_and_chunked_the_chunks_count(route: Route) -> None:
    """RFC 9112, section 6.3; no later answer is read from the middle of this one."""
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + CHUNKED + b"2\r\nok\r\n0\r\n\r\n"
    with route.receiver(answering(both)) as receiver:
        replies = [send(route.sender_client, receiver.url) for _ in range(3)]
    assert [(reply.status_code, reply.error, reply.body) for reply in replies] == [(200, None, b"ok")] * 3


def test_H6_random_bytes_stay_bytes(route: Route) -> None:
    noise = bytes(range(256))
    reply = route.exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 256\r\n\r\n" + noise))
    assert reply.body == noise
