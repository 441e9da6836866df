"""The sandbox takes what the provider's protocol signs, and nothing that was changed since."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.time import Micros
from relay.provider.list_ai_job.rules.signing import Credentials, sign_v1, sign_v3
from relay.sandbox.signature_check import read_v3_authorization, verify_v1, verify_v3
from tests.support.signing import (
    NOON,
    V3_NONCE,
    VOD,
    all_credentials,
    all_params,
    methods,
    names,
    times,
)

SECRET = "testsecret"


@given(
    method=methods,
    host=names,
    params=all_params,
    credentials=all_credentials,
    nonce=names,
    time=times,
    body=st.binary(max_size=40),
)
def test_v3_is_verified_only_as_it_was_signed(
    *,
    method: str,
    host: str,
    params: dict[str, str],
    credentials: Credentials,
    nonce: str,
    time: Micros,
    body: bytes,
) -> None:
    headers = sign_v3(
        method=method,
        host=host,
        action="ListAIJob",
        version="2017-03-21",
        params=params,
        credentials=credentials,
        nonce=nonce,
        time=time,
        body=body,
    )
    received = {name.lower(): value for name, value in headers.items()}
    secret = credentials.access_key_secret
    assert verify_v3(method=method, params=params, headers=received, body=body, secret=secret)
    assert not verify_v3(method=method, params=params, headers=received, body=body + b"x", secret=secret)
    assert not verify_v3(method=method, params=params, headers=received, body=body, secret=secret + "x")
    assert not verify_v3(
        method=method, params={**params, "More": ""}, headers=received, body=body, secret=secret
    )


@given(methods, all_params, all_credentials, names, times)
def test_v1_is_verified_only_as_it_was_signed(
    method: str, params: dict[str, str], credentials: Credentials, nonce: str, time: Micros
) -> None:
    signed = sign_v1(
        method=method,
        action="ListAIJob",
        version="2017-03-21",
        params=params,
        credentials=credentials,
        nonce=nonce,
        time=time,
    )
    secret = credentials.access_key_secret
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
