"""Says why a webhook's signature does not verify, for the people who write its receiver."""

import base64
import hmac
import re
from collections.abc import Mapping

from relay.common.time import US_PER_SECOND, Micros
from relay.sending.rules.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from relay.subscribers.rules.secret_texts import parse_secret

TOLERANCE = 300  # seconds either way; the limit that the standard's own libraries use

_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def explain(secret: str, headers: Mapping[str, str], body: bytes, now: Micros) -> str | None:
    """Say in plain words why a webhook does not verify, or None if it does.

    Header names match in any letter case. `now` is the receiver's clock, in microseconds.
    """
    try:
        key = parse_secret(secret)
    except ValueError as error:
        return str(error)
    by_name = {name.lower(): value for name, value in headers.items()}
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if not by_name.get(name):
            return f"the header {name} is missing; does a proxy in front drop it?"
    signatures = by_name[SIGNATURE_HEADER].split()
    return _explain_timestamp(by_name[TIMESTAMP_HEADER], now // US_PER_SECOND) or _explain_signatures(
        key, by_name[ID_HEADER], int(by_name[TIMESTAMP_HEADER]), body, signatures
    )


def _explain_timestamp(text: str, now: int) -> str | None:
    if not _TIMESTAMP.fullmatch(text):
        return f"{TIMESTAMP_HEADER} is not a time in whole Unix seconds"
    age = now - int(text)
    if abs(age) <= TOLERANCE:
        return None
    side = f"{age} seconds old" if age > 0 else f"{-age} seconds in the future"
    return f"{TIMESTAMP_HEADER} is {side}, over the {TOLERANCE} allowed: a replay, or a clock that is wrong"


def _explain_signatures(
    key: bytes, msg_id: str, timestamp: int, body: bytes, signatures: list[str]
) -> str | None:
    given = [_decoded(text.removeprefix("v1,")) for text in signatures if text.startswith("v1,")]
    if not given:
        return f"{SIGNATURE_HEADER} holds no v1 signature; its form is v1, a comma and base64"
    expected = _decoded(sign([key], msg_id, timestamp, body).removeprefix("v1,"))
    if any(hmac.compare_digest(expected, signature) for signature in given):
        return None
    return (
        "the signature does not match: this is not the endpoint's secret, or the body was changed on its way "
        "(verify the raw bytes, before a framework parses the JSON and writes it again)"
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
