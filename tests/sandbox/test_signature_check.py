"""The sandbox takes what the provider's protocol signs, and nothing that was changed since."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.provider.list_ai_job.rules.signing import Credentials, sign_v1, sign_v3
from relay.sandbox.signature_check import read_v3_authorization, verify_v1, verify_v3
from tests.support.signing import NOON, V3_NONCE, VOD, bodies, names, signer_arguments

SECRET = "testsecret"


@given(arguments=signer_arguments, host=names, body=bodies)
def test_v3_is_verified_only_as_it_was_signed(arguments: dict[str, Any], host: str, body: bytes) -> None:
    signed = sign_v3(**arguments, host=host, body=body)
    method, params = arguments["method"], arguments["params"]
    headers = {name.lower(): value for name, value in signed.items()}
    secret = arguments["credentials"].access_key_secret
    assert verify_v3(method=method, params=params, headers=headers, body=body, secret=secret)
    assert not verify_v3(method=method, params=params, headers=headers, body=body + b"x", secret=secret)
    assert not verify_v3(method=method, params=params, headers=headers, body=body, secret=secret + "x")
    assert not verify_v3(
        method=method, params=params | {"More": ""}, headers=headers, body=body, secret=secret
    )


@given(signer_arguments)
def test_v1_is_verified_only_as_it_was_signed(arguments: dict[str, Any]) -> None:
    signed = sign_v1(**arguments)
    method, secret = arguments["method"], arguments["credentials"].access_key_secret
    assert verify_v1(method=method, params=signed, secret=secret)
    assert not verify_v1(method=method, params=signed, secret=secret + "x")
    assert not verify_v1(method=method, params={**signed, "More": ""}, secret=secret)
    del signed["Signature"]
    assert not verify_v1(method=method, params=signed, secret=secret)


def test_the_parts_of_a_v3_authorization_are_read() -> None:
    authorization = read_v3_authorization(
        "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-date,Signature=00ff"
    )
    assert authorization is not None
    assert (authorization.access_key_id, authorization.signature) == ("id", "00ff")
    assert authorization.signed_headers == ("host", "x-acs-date")


@given(st.text(max_size=80))
def test_any_authorization_header_is_judged(header: str) -> None:
    read_v3_authorization(header)
    assert not verify_v3(method="GET", params={}, headers={"authorization": header}, body=b"", secret="s")


@pytest.mark.parametrize("left_out", ["host", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"])
def test_v3_without_a_needed_header_in_the_signature_is_refused(left_out: str) -> None:
    headers = sign_v3(
        method="GET",
        host=VOD,
        action="ListAIJob",
        version="2017-03-21",
        params={},
        credentials=Credentials("testid", SECRET),
        nonce=V3_NONCE,
        time=NOON,
    )
    received = {name.lower(): value for name, value in headers.items()}
    del received[left_out]
    assert not verify_v3(method="GET", params={}, headers=received, body=b"", secret=SECRET)
    received[left_out] = headers[left_out]
    received["authorization"] = received["authorization"].replace(f"{left_out};", "")
    assert not verify_v3(method="GET", params={}, headers=received, body=b"", secret=SECRET)


def test_a_signature_of_odd_characters_is_refused_and_does_not_raise() -> None:
    for odd in ("", "\ud800", "é", b64encode(b"x" * 20).decode()):
        assert not verify_v1(method="GET", params={"Signature": odd}, secret="s")
