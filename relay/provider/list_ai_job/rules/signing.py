"""Signs requests to Alibaba Cloud: V3 (`ACS3-HMAC-SHA256`) and V1 (RPC, `HMAC-SHA1`).

Both follow the provider's pages; the tests compare them with its own signers. A signer takes
everything that goes into a signature, nonce and time included, and returns the headers or the
parameters to send. `relay.sandbox.signature_check` verifies signatures.
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from relay.common.time import US_PER_SECOND, Micros

V3_ALGORITHM = "ACS3-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, with its STS token if it is temporary; the repr shows only the key's id."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


def q(text: str) -> str:
    """Percent-encode all but `A-Za-z0-9-_.~`, as both signatures want it."""
    return quote(text, safe="")


def canonical_query(params: Mapping[str, str]) -> str:
    """The parameters sorted by name and encoded: what is signed, and a query string to send."""
    return "&".join(f"{q(name)}={q(params[name])}" for name in sorted(params))


def timestamp(time: Micros) -> str:
    """Write a time as the provider wants it, in UTC to the second: `2021-07-20T10:12:44Z`."""
    return datetime.fromtimestamp(time // US_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sign_v3(
    *,
    method: str,
    host: str,
    action: str,
    version: str,
    params: Mapping[str, str],
    credentials: Credentials,
    nonce: str,
    time: Micros,
    body: bytes = b"",
) -> dict[str, str]:
    """All headers that sign a V3 request of `/?{canonical_query(params)}`.

    `host` is sent as the Host header exactly as given, with its port where the URL has one.
    """
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": timestamp(time),
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": sha256(body).hexdigest(),
    }
    if credentials.security_token:
        headers["x-acs-security-token"] = credentials.security_token
    names = sorted(headers)
    signature = v3_signature(method, params, headers, names, credentials.access_key_secret)
    headers["Authorization"] = (
        f"{V3_ALGORITHM} Credential={credentials.access_key_id},"
        f"SignedHeaders={';'.join(names)},Signature={signature}"
    )
    return headers


def sign_v1(
    *,
    method: str,
    action: str,
    version: str,
    params: Mapping[str, str],
    credentials: Credentials,
    nonce: str,
    time: Micros,
) -> dict[str, str]:
    """Return all parameters of a signed V1 request (`Format=JSON`), `Signature` included."""
    signed = {
        "Action": action,
        "Version": version,
        "Format": "JSON",
        "AccessKeyId": credentials.access_key_id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": nonce,
        "Timestamp": timestamp(time),
        **params,
    }
    if credentials.security_token:
        signed["SecurityToken"] = credentials.security_token
    return signed | {"Signature": v1_signature(method, signed, credentials.access_key_secret)}


def v3_signature(
    method: str, params: Mapping[str, str], headers: Mapping[str, str], names: list[str], secret: str
) -> str:
    """The signature of a request with these headers, of which `names` are signed."""
    canonical_request = "\n".join(
        [
            method,
            "/",
            canonical_query(params),
            "".join(f"{name}:{headers[name].strip()}\n" for name in names),
            ";".join(names),
            headers["x-acs-content-sha256"],
        ]
    )
    text = f"{V3_ALGORITHM}\n{sha256(canonical_request.encode()).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()


def v1_signature(method: str, params: Mapping[str, str], secret: str) -> str:
    """The signature of a request with these parameters, all but the signature itself."""
    text = f"{method}&%2F&{q(canonical_query(params))}"
    return b64encode(hmac.digest(f"{secret}&".encode(), text.encode(), "sha1")).decode()
