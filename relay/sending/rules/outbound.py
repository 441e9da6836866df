"""One attempt on its way: from what was claimed to the bytes that leave.

The sender packs a parcel only when it is about to leave, so that no more bodies are made than are
in flight.
"""

from typing import NamedTuple

from relay.common.states import ErrorClass
from relay.common.time import Micros
from relay.sending.rules import signature, webhook
from relay.sending.rules.webhook import Message


class OutboundRequest(NamedTuple):
    """What one attempt is made of.

    `key` names the attempt; its reply carries the same. `timestamp` is in Unix seconds, new for
    each attempt. `keys` sign, newest first. `headers` are the endpoint's own. `deadline` is in
    seconds, for the whole.
    """

    key: str
    url: str
    webhook_id: str
    timestamp: int
    message: Message
    keys: tuple[bytes, ...]
    headers: tuple[tuple[str, str], ...]
    user_agent: str
    deadline: float


class Packed(NamedTuple):
    """What leaves: headers in their order, and the body's exact bytes, which the signature covers."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


def pack(outbound: OutboundRequest) -> Packed:
    """Render and sign."""
    body = webhook.render(outbound.message)
    signed = signature.sign(outbound.keys, outbound.webhook_id, outbound.timestamp, body)
    headers = (
        ("content-type", "application/json"),
        ("user-agent", outbound.user_agent),
        (signature.ID_HEADER, outbound.webhook_id),
        (signature.TIMESTAMP_HEADER, str(outbound.timestamp)),
        (signature.SIGNATURE_HEADER, signed),
        *outbound.headers,
    )
    return Packed(headers, body)


class Reply(NamedTuple):
    """What came of one attempt.

    A reply with `error` None was delivered: a 2xx whose headers came whole. `detail` is a sentence
    for people with no secret in it. `body` is the start of what the receiver answered (at most 16
    KiB, 1 KiB after a 2xx). `retry_after` is the raw header, judged by `schedule`.
    """

    key: str
    status_code: int | None
    error: ErrorClass | None
    detail: str | None
    body: bytes
    duration: Micros
    retry_after: str | None = None
