"""Why a webhook does not verify, said to the people who write its receiver."""

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.time import US_PER_SECOND
from relay.sandbox.webhook_check import explain
from relay.sending.rules.signature import sign
from relay.subscribers.rules.secret_texts import new_secret
from tests.support import webhook_vector as vector

keys = st.binary(min_size=32, max_size=32)
NOW = vector.TIME * US_PER_SECOND


def headers(signature: str = vector.SIGNATURE) -> dict[str, str]:
    return {
        "Webhook-Id": vector.ID,
        "webhook-timestamp": str(vector.TIME),
        "WEBHOOK-SIGNATURE": signature,
    }


def test_K3_the_published_vector_verifies() -> None:
    assert explain(vector.SECRET, headers(), vector.BODY, NOW) is None


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    left = {key: value for key, value in headers().items() if key.lower() != name}
    assert f"{name} is missing" in (explain(vector.SECRET, left, vector.BODY, NOW) or "")


@pytest.mark.parametrize(
    ("offset", "words"),
    [(300, None), (-300, None), (301, "301 seconds old"), (-301, "301 seconds in the future")],
)
def test_a_timestamp_out_of_tolerance_is_said_in_seconds(offset: int, words: str | None) -> None:
    problem = explain(vector.SECRET, headers(), vector.BODY, (vector.TIME + offset) * US_PER_SECOND)
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
    assert "whole Unix seconds" in (explain(vector.SECRET, sent, vector.BODY, NOW) or "")


@pytest.mark.parametrize("signature", ["v1a,abcd", "g0hM9SsE", "v2,xyz v1a,xyz", " "])
def test_a_header_without_a_v1_signature_is_said_so(signature: str) -> None:
    problem = explain(vector.SECRET, headers(signature), vector.BODY, NOW)
    assert "no v1 signature" in (problem or "")


def test_one_good_signature_among_others_is_enough() -> None:
    many = f"v1a,AAAA v1,!!! v1, v1,AAAA {vector.SIGNATURE}"
    assert explain(vector.SECRET, headers(many), vector.BODY, NOW) is None


def test_a_body_written_again_by_a_framework_is_explained() -> None:
    compact = json.dumps(json.loads(vector.BODY), separators=(",", ":")).encode()
    problem = explain(vector.SECRET, headers(), compact, NOW)
    assert "before a framework parses" in (problem or "")


def test_a_wrong_secret_is_explained() -> None:
    problem = explain(new_secret(bytes(range(32))), headers(), vector.BODY, NOW)
    assert "not the endpoint's secret" in (problem or "")


def test_a_secret_that_is_none_is_explained() -> None:
    problem = explain("hunter2hunter2", headers(), vector.BODY, NOW)
    assert problem == "the secret does not start with whsec_; copy it whole"


@given(st.dictionaries(st.sampled_from([*headers(), "x"]), st.text()), st.binary(), st.integers())
def test_explain_never_raises(sent: dict[str, str], body: bytes, now: int) -> None:
    assert explain(vector.SECRET, sent, body, now)


@given(keys, st.binary(min_size=1))
def test_any_changed_byte_breaks_the_signature(key: bytes, body: bytes) -> None:
    sent = {"webhook-id": "m", "webhook-timestamp": "0", "webhook-signature": sign([key], "m", 0, body)}
    for place in range(min(len(body), 8)):
        changed = bytes(byte ^ (index == place) for index, byte in zip(count(), body, strict=False))
        assert explain(new_secret(key), sent, changed, 0)
