"""[A6] Bodies that are too long, badly framed or no strict JSON: always a 4xx, never a 500."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.api import bodies
from relay.api.bodies import NotJson
from tests.support.api import Caller, new_job_id, web_process

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def port(database_url: str, tmp_path_factory: pytest.TempPathFactory, _processes: None) -> Iterator[int]:
    """The port of the web as a process of its own: its server frames the bodies."""
    with web_process(database_url, tmp_path_factory.mktemp("web")) as relay:
        yield relay.port


def watch(padding: int = 0) -> bytes:
    """A watch as JSON, padded to so many bytes."""
    raw = json.dumps({"job_id": new_job_id(), "callback_url": "https://h.example.com/"}).encode()
    return raw + b" " * (padding - len(raw))


def talk(caller: Caller, sent: bytes, path: str = "/v1/watches") -> tuple[int, dict[str, Any]]:
    """Send a POST that goes on like this after its first header lines; status and document."""
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {caller.api_key}\r\n"
    with socket.create_connection(("127.0.0.1", caller.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n" + sent)
        with connection.makefile("rb") as reader:
            status = int(reader.readline().split()[1])
            length = 0
            while (line := reader.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            return status, json.loads(reader.read(length) or b"{}")


def chunked(raw: bytes, size: int = 60_000) -> bytes:
    chunks = [raw[start : start + size] for start in range(0, len(raw), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def test_A6_a_body_at_the_limit_is_taken(caller: Caller) -> None:
    assert caller.send("POST", "/v1/watches", watch(LIMIT)).status == 201


def test_A6_a_body_one_byte_over_the_limit_is_413(caller: Caller) -> None:
    got = caller.send("POST", "/v1/watches", watch(LIMIT + 1))
    assert (got.status, got.json["type"]) == (413, "urn:relay:problem:too-large")


def test_A6_a_batch_may_have_8_mib_and_not_a_byte_more(caller: Caller) -> None:
    raw = b'{"watches":[' + watch() + b"]}"
    path = "/v1/watches/batch"
    assert caller.send("POST", path, raw + b" " * (8 * LIMIT - len(raw))).status == 201
    assert caller.send("POST", path, raw + b" " * (8 * LIMIT - len(raw) + 1)).status == 413


def test_A6_a_chunked_body_without_length_is_taken_up_to_the_limit(caller: Caller) -> None:
    assert talk(caller, chunked(watch()))[0] == 201
    assert talk(caller, chunked(watch(LIMIT)))[0] == 201
    assert talk(caller, chunked(watch(LIMIT + 1)))[0] == 413
    assert talk(caller, chunked(watch(LIMIT) + watch(8 * LIMIT)))[0] == 413


def test_A6_a_chunked_body_has_its_key_and_effect_once(caller: Caller) -> None:
    sent = b"Idempotency-Key: k\r\n" + chunked(watch(), size=7)
    (first, body), (second, again) = talk(caller, sent), talk(caller, sent)
    assert (first, second) == (201, 201)
    assert body == again


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, identity\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"Transfer-Encoding: unheard-of\r\n\r\n{}",
    ],
)
def test_A6_a_body_that_is_badly_framed_is_refused_and_changes_nothing(
    caller: Caller, framing: bytes
) -> None:
    status, problem = talk(caller, framing)
    assert 400 <= status < 500 or status == 501
    assert problem["status"] == status
    assert caller.get("/v1/watches").json["data"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"{",
        b"nonsense",
        b"\xff\xfe{}",
        b'{"job_id":"\xff"}',
        b'{"job_id":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 300 + b"]" * 300,
        b'{"job_id":"a","job_id":"b"}',
        b'{"metadata":{"a":1,"a":1}}',
        b'{"metadata":{"a":NaN}}',
        b'{"timeout_seconds":Infinity}',
        b'{"timeout_seconds":-Infinity}',
        b'{"metadata":{"a":1e999}}',
        b'{"timeout_seconds":' + b"9" * 5000 + b"}",
        b'{"job_id":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"metadata":{"a":["\\ud800x\\udc00"]}}',
        b'{"job_id":"a\x00"}',
        b'{"job_id":01}',
        b"{'job_id':1}",
        b'{"job_id":1,}',
        b'{"a":1}{"b":2}',
    ],
    ids=range(26),
)
def test_A6_what_is_no_strict_json_is_400(caller: Caller, raw: bytes) -> None:
    got = caller.send("POST", "/v1/watches", raw)
    assert (got.status, got.json["type"]) == (400, "urn:relay:problem:not-json")
    assert got.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=UTF-8", 201),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_only_json_is_taken(caller: Caller, media_type: str, status: int) -> None:
    assert caller.send("POST", "/v1/watches", watch(), {"Content-Type": media_type}).status == status


def test_a_body_that_may_be_empty_needs_no_content_type(caller: Caller) -> None:
    assert caller.send("POST", "/v1/secret/rotate").status == 200
    assert caller.send("POST", "/v1/secret/rotate", b"", {"Content-Type": "text/plain"}).status == 200
    assert caller.send("POST", "/v1/secret/rotate", b"x", {"Content-Type": "text/plain"}).status == 415


def test_a_refused_body_is_not_taken_for_the_next_request(caller: Caller) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
    with socket.create_connection(("127.0.0.1", caller.port), timeout=30) as connection:
        head = f"POST /v1/watches HTTP/1.1\r\nHost: h\r\nContent-Length: {len(smuggled)}\r\n\r\n"
        connection.sendall(head.encode() + smuggled)
        connection.shutdown(socket.SHUT_WR)
        answers = b""
        while more := connection.recv(65_536):
            answers += more
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 401")


SECRET = b"rk_only-the-caller-knows"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_strict_json_is_read_as_it_is(value: Any) -> None:
    assert bodies.parse(json.dumps(value).encode()) == value


@given(st.binary() | st.text(alphabet='{}[]",:0123456789.eE+-\\ud8aNInfity \t').map(str.encode))
def test_any_bytes_end_in_a_value_that_is_storable_or_in_a_400(raw: bytes) -> None:
    with contextlib.suppress(NotJson):
        value = bodies.parse(raw)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
