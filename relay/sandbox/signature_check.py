"""Verifies signed requests as the provider does, by V3 and V1; `signing` has the signatures."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from relay.provider.list_ai_job.rules.signing import V3_ALGORITHM, v1_signature, v3_signature

# Without these in the signature, it could be moved to another call, another body or another day.
MUST_SIGN = frozenset(
    {"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
)


@dataclass(frozen=True, slots=True)
class V3Authorization:
    """The parts of a V3 `Authorization` header."""

    access_key_id: str
    signed_headers: tuple[str, ...]
    signature: str


def read_v3_authorization(header: str) -> V3Authorization | None:
    """Parse an `Authorization` header; None if it is not one of V3."""
    algorithm, _, members = header.partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in members.split(","))
    if algorithm != V3_ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        return None
    names = tuple(fields["SignedHeaders"].lower().split(";"))
    return V3Authorization(fields["Credential"], names, fields["Signature"])


def verify_v3(
    *, method: str, params: Mapping[str, str], headers: Mapping[str, str], body: bytes, secret: str
) -> bool:
    """Whether a received V3 request carries the signature that `secret` makes of it.

    `params` are those of the query alone, decoded. `headers` are keyed in lower case. The official
    client signs more headers than the required ones, so the request's own list counts.
    """
    authorization = read_v3_authorization(headers.get("authorization", ""))
    if authorization is None or not MUST_SIGN.issubset(authorization.signed_headers):
        return False
    if not headers.keys() >= set(authorization.signed_headers):
        return False
    if headers["x-acs-content-sha256"] != sha256(body).hexdigest():
        return False
    expected = v3_signature(method, params, headers, sorted(authorization.signed_headers), secret)
    return _equal(expected, authorization.signature)


def verify_v1(*, method: str, params: Mapping[str, str], secret: str) -> bool:
    """Whether a received V1 request is signed with `secret`; `params`: query and form, decoded."""
    signed = {name: value for name, value in params.items() if name != "Signature"}
    return _equal(v1_signature(method, signed, secret), params.get("Signature", ""))


def _equal(expected: str, received: str) -> bool:
    """Compare in constant time; bytes, because `compare_digest` refuses texts beyond ASCII."""
    return hmac.compare_digest(expected.encode(), received.encode("utf-8", "surrogatepass"))
