"""The local receiver: verifies, keeps, answers and prints webhooks."""

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from relay.sandbox.receiver import Answer, Received, Receiver, described, verified
from relay.sandbox.server import CannotListen
from relay.sending.rules.signature import sign
from relay.subscribers.rules.secret_texts import new_secret, parse_secret
from tests.support.interruptible import interrupt, interruptible

SECRET = new_secret(bytes(range(32)))
BODY = b'{"type": "relay.test"}'


def signed(body: bytes = BODY, *, msg_id: str = "msg_1", age: int = 0) -> dict[str, str]:
    now = int(time.time()) - age
    return {
        "webhook-id": msg_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign([parse_secret(SECRET)], msg_id, now, body),
    }


def post(receiver: Receiver, headers: Mapping[str, str], body: bytes = BODY) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", "/hook?x=1", body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(secret=SECRET) as running:
        yield running


def test_a_good_signature_is_answered_200_and_kept(receiver: Receiver) -> None:
    assert post(receiver, signed()) == (200, b"")
    (received,) = receiver.wait_for(1, timeout=5)
    assert (received.id, received.body, received.path) == ("msg_1", BODY, "/hook?x=1")
    assert (received.problem, received.repeats) == (None, 0)
    assert received.headers["webhook-id"] == "msg_1"
    assert abs(received.timestamp - time.time() * 1e6) < 10e6


@pytest.mark.parametrize(
    ("make_headers", "words"),
    [
        (dict, b"webhook-id is missing"),
        (lambda: signed(age=1000), b"seconds old, over the 300 allowed"),
        (lambda: signed(b"other"), b"the signature does not match"),
    ],
)
def test_a_bad_signature_is_answered_400_with_the_reason(
    receiver: Receiver, make_headers: Callable[[], Mapping[str, str]], words: bytes
) -> None:
    status, reason = post(receiver, make_headers())
    assert status == 400
    assert words in reason
    assert receiver.received[0].problem == reason.decode()


def test_repeats_of_an_id_are_counted(receiver: Receiver) -> None:
    for _ in range(3):
        post(receiver, signed())
    post(receiver, signed(msg_id="msg_2"))
    assert [one.repeats for one in receiver.received] == [0, 1, 2, 0]


def test_without_a_secret_nothing_is_verified() -> None:
    with Receiver() as receiver:
        assert post(receiver, {})[0] == 200


def test_the_answer_is_for_the_caller_to_choose() -> None:
    def gone_after_one(received: Received) -> Answer:
        return (
            verified(received) if received.repeats == 0 else Answer(410, {"retry-after": "9"}, b"gone", 0.01)
        )

    with Receiver(answer=gone_after_one) as receiver:
        assert [post(receiver, signed()) for _ in range(2)] == [(200, b""), (410, b"gone")]


def test_waiting_for_more_than_comes_raises(receiver: Receiver) -> None:
    post(receiver, signed())
    with pytest.raises(TimeoutError, match="1 of 2"):
        receiver.wait_for(2, timeout=0.05)


def test_waiting_ends_when_the_last_has_come(receiver: Receiver) -> None:
    threads = [threading.Thread(target=post, args=(receiver, signed(msg_id=f"msg_{n}"))) for n in range(20)]
    for thread in threads:
        thread.start()
    assert {one.id for one in receiver.wait_for(20, timeout=10)} == {f"msg_{n}" for n in range(20)}
    for thread in threads:
        thread.join()


def test_only_the_latest_are_kept_if_so_asked() -> None:
    with Receiver(keep=2) as receiver:
        for n in range(5):
            post(receiver, signed(msg_id=f"msg_{n}"))
        assert receiver.count == 5
        assert [one.id for one in receiver.wait_for(5, timeout=1)] == ["msg_3", "msg_4"]


@pytest.mark.parametrize(("length", "status"), [(None, 411), ("99999999999", 413), ("-1", 413), ("x", 413)])
def test_a_body_without_a_usable_length_is_refused(
    receiver: Receiver, length: str | None, status: int
) -> None:
    connection = http.client.HTTPConnection(receiver.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/")
    if length is not None:
        connection.putheader("content-length", length)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()
    assert receiver.received == []


def a_received(body: bytes = BODY, **changes: object) -> Received:
    values = {
        "id": "msg_1",
        "timestamp": 0,
        "headers": {},
        "body": body,
        "path": "/",
        "problem": None,
        "repeats": 0,
    }
    return Received(**(values | changes))  # type: ignore[arg-type]  # values of a dict have one type only


def test_a_description_says_what_came_and_how_it_is() -> None:
    assert "msg_1  signature verified\n" in described(a_received(), Answer(), verifies=True)
    assert "signature not checked" in described(a_received(), Answer(), verifies=False)
    assert "REFUSED: too old" in described(a_received(problem="too old"), Answer(), verifies=True)
    assert "repeated: came 2 times before" in described(a_received(repeats=2), Answer(), verifies=True)
    assert "verified  answered 503 after 2 s\n" in described(
        a_received(), Answer(503, delay=2), verifies=True
    )
    assert '    {\n      "type": "relay.test"\n    }' in described(a_received(), Answer(), verifies=True)


@pytest.mark.parametrize(
    "body", [b"\x00\xff\xfe", b"[" * 100_000, b"", b"NaN", b'"\xed\xa0\x80"', b'"\\ud800"']
)
def test_any_body_can_be_described(body: bytes) -> None:
    text = described(a_received(body), Answer(), verifies=True)
    text.encode()
    assert len(text) < 6000


def test_K2_terminal_output_escapes_control_characters() -> None:
    evil = "\x1b[2J\x07\r\x9b\u202e\u200b"
    received = a_received(json.dumps(evil).encode(), path=f"/{evil}", id=evil, problem=evil)
    text = described(received, Answer(), verifies=True)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b[2J" in text


@pytest.mark.processes
def test_listen_prints_what_comes_until_interrupted() -> None:
    code = (
        f"import sys; from relay.sandbox.receiver import serve; serve('127.0.0.1', 0, {SECRET!r}, sys.stdout)"
    )
    with interruptible([sys.executable, "-c", code]) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "verifying signatures" in first
        url = first.split()[2].rstrip(",")
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("POST", "/hook", BODY, signed())
        assert connection.getresponse().status == 200
        connection.close()
        assert "POST /hook  msg_1  signature verified" in process.stdout.readline()
        assert "Stopped after 1 webhook" in interrupt(process)
        assert process.returncode == 0


def test_an_address_in_use_raises() -> None:
    with Receiver() as taken, pytest.raises(CannotListen, match="in use"):
        Receiver(port=int(taken.url.rsplit(":", 1)[1]))
