"""How a signing secret is written and read."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.subscribers.rules.secret_texts import new_secret, parse_secret


@given(st.binary(min_size=32, max_size=32))
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
def test_a_text_that_is_no_secret_is_refused_without_quoting_it(secret: str) -> None:
    with pytest.raises(ValueError, match=r"the secret .*copy it whole") as refused:
        parse_secret(secret)
    assert len(secret) < 10 or secret[8:] not in str(refused.value)
