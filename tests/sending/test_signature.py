import base64
import json
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from relay.common.time import US_PER_SECOND
from relay.sending.rules.signature import explain, sign
from relay.subscribers.rules.secret_texts import new_secret, parse_secret

VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_TIME = 1614265330
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

keys = st.binary(min_size=32, max_size=32)
ids = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=40)
times = st.integers(min_value=0, max_value=4_000_000_000)


def headers(signature: str = VECTOR_SIGNATURE) -> dict[str, str]:
    return {
        "Webhook-Id": VECTOR_ID,
        "webhook-timestamp": str(VECTOR_TIME),
        "WEBHOOK-SIGNATURE": signature,
    }


def test_K3_the_published_vector() -> None:
    assert sign([VECTOR_SECRET], VECTOR_ID, VECTOR_TIME, VECTOR_BODY) == VECTOR_SIGNATURE


def test_K3_the_published_vector_verifies() -> None:
    assert explain(VECTOR_SECRET, headers(), VECTOR_BODY, VECTOR_TIME * US_PER_SECOND) is None


@given(keys, ids, times, st.text())
def test_K3_the_independent_library_signs_alike(key: bytes, msg_id: str, seconds: int, body: str) -> None:
    theirs = Webhook(new_secret(key)).sign(msg_id, datetime.fromtimestamp(seconds, tz=UTC), body)
    assert sign([new_secret(key)], msg_id, seconds, body.encode()) == theirs
    assert sign([key], msg_id, seconds, body.encode()) == theirs


@given(keys, keys, st.dictionaries(st.text(), st.integers()))
def test_K3_the_independent_library_verifies_under_either_secret(
    old: bytes, new: bytes, data: object
) -> None:
    body = json.dumps(data).encode()
    now = int(datetime.now(tz=UTC).timestamp())
    sent = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign([new, old], "msg_1", now, body),
    }
    for key in (old, new):
        assert Webhook(new_secret(key)).verify(body, sent) == json.loads(body)
        assert explain(new_secret(key), sent, body, now * US_PER_SECOND) is None


@given(keys)
def test_a_secret_reads_back_as_its_bytes(key: bytes) -> None:
    assert new_secret(key).startswith("whsec_")
    assert parse_secret(new_secret(key)) == key


def test_a_new_secret_needs_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        new_secret(b"short")


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqr TwjUPD8ILPZIo2LaLaSw"),
        *("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_é", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
    ],
)
def test_what_is_no_secret_is_refused_without_quoting_it(secret: str) -> None:
    with pytest.raises(ValueError, match=r"the secret .*copy it whole") as refused:
        parse_secret(secret)
    assert len(secret) < 10 or secret[8:] not in str(refused.value)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    left = {key: value for key, value in headers().items() if key.lower() != name}
    assert f"{name} is missing" in (
        explain(VECTOR_SECRET, left, VECTOR_BODY, VECTOR_TIME * US_PER_SECOND) or ""
    )


@pytest.mark.parametrize(
    ("offset", "words"),
    [(300, None), (-300, None), (301, "301 seconds old"), (-301, "301 seconds in the future")],
)
def test_a_timestamp_out_of_tolerance_is_said_in_seconds(offset: int, words: str | None) -> None:
    problem = explain(VECTOR_SECRET, headers(), VECTOR_BODY, (VECTOR_TIME + offset) * US_PER_SECOND)
    assert problem is None if words is None else words in (problem or "")


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "-1",
        "1.5",
        "\uff11\uff16\uff11\uff14\uff12\uff16\uff15\uff13\uff13\uff10",
        "1_614",
        "9" * 5000,
    ],
)
def test_a_timestamp_that_is_no_number_is_said_so(text: str) -> None:
    sent = headers() | {"webhook-timestamp": text}
    assert "whole Unix seconds" in (
        explain(VECTOR_SECRET, sent, VECTOR_BODY, VECTOR_TIME * US_PER_SECOND) or ""
    )


@pytest.mark.parametrize("signature", ["v1a,abcd", "g0hM9SsE", "v2,xyz v1a,xyz", " "])
def test_a_header_without_a_v1_signature_is_said_so(signature: str) -> None:
    problem = explain(VECTOR_SECRET, headers(signature), VECTOR_BODY, VECTOR_TIME * US_PER_SECOND)
    assert "no v1 signature" in (problem or "")


def test_one_good_signature_among_others_is_enough() -> None:
    many = f"v1a,AAAA v1,!!! v1, v1,AAAA {VECTOR_SIGNATURE}"
    assert explain(VECTOR_SECRET, headers(many), VECTOR_BODY, VECTOR_TIME * US_PER_SECOND) is None


def test_a_body_written_again_by_a_framework_is_explained() -> None:
    compact = json.dumps(json.loads(VECTOR_BODY), separators=(",", ":")).encode()
    problem = explain(VECTOR_SECRET, headers(), compact, VECTOR_TIME * US_PER_SECOND)
    assert "before a framework parses" in (problem or "")


def test_a_wrong_secret_is_explained() -> None:
    problem = explain(new_secret(bytes(range(32))), headers(), VECTOR_BODY, VECTOR_TIME * US_PER_SECOND)
    assert "not the endpoint's secret" in (problem or "")


def test_a_secret_that_is_none_is_explained() -> None:
    problem = explain("hunter2hunter2", headers(), VECTOR_BODY, VECTOR_TIME * US_PER_SECOND)
    assert problem == "the secret does not start with whsec_; copy it whole"


@given(st.dictionaries(st.sampled_from([*headers(), "x"]), st.text()), st.binary(), st.integers())
def test_explain_never_raises(sent: dict[str, str], body: bytes, now: int) -> None:
    assert explain(VECTOR_SECRET, sent, body, now)


@given(keys, st.binary(min_size=1))
def test_any_changed_byte_breaks_the_signature(key: bytes, body: bytes) -> None:
    sent = {"webhook-id": "m", "webhook-timestamp": "0", "webhook-signature": sign([key], "m", 0, body)}
    for at in range(min(len(body), 8)):
        changed = bytes(byte ^ (index == at) for index, byte in zip(count(), body, strict=False))
        assert explain(new_secret(key), sent, changed, 0)
