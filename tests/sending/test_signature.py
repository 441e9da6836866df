"""Signatures of webhooks, against the published vector and an independent library."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from relay.common.time import US_PER_SECOND
from relay.sandbox.webhook_check import explain
from relay.sending.rules.signature import sign
from relay.subscribers.rules.secret_texts import new_secret, parse_secret
from tests.support import webhook_vector as vector

keys = st.binary(min_size=32, max_size=32)
ids = st.text(st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=40)
times = st.integers(min_value=0, max_value=4_000_000_000)


def test_K3_the_published_vector() -> None:
    assert sign([parse_secret(vector.SECRET)], vector.ID, vector.TIME, vector.BODY) == vector.SIGNATURE


@given(keys, ids, times, st.text())
def test_K3_the_independent_library_signs_alike(key: bytes, msg_id: str, seconds: int, body: str) -> None:
    theirs = Webhook(new_secret(key)).sign(msg_id, datetime.fromtimestamp(seconds, tz=UTC), body)
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
