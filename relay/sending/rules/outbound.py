"""What a dispatcher and its sender exchange: options, requests to send, replies.

The sender packs a request only when it is about to leave, so that no more bodies are in memory than
in flight.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from relay.common.states import ErrorClass
from relay.common.time import Micros
from relay.endpoints.rules.addresses import Network
from relay.sending.rules import signature, webhook
from relay.sending.rules.webhook import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """How requests are sent."""

    schemes: tuple[str, ...]  # `http` or `https`; endpoints saved while more was allowed are refused
    allow: tuple[Network, ...]  # networks that callbacks may reach although they are not public
    ca_file: Path | None  # authorities (PEM) to trust beside the public ones
    dns_servers: tuple[str, ...]  # name servers to ask, as `ip` or `ip:port`; none means the system's
    max_connections: int  # idle connections that are kept, beside the busy ones
    connect_timeout: float = 5.0  # seconds for TCP and TLS together, inside each request's deadline


class OutboundRequest(NamedTuple):
    """One attempt, as it is handed to the sender.

    `key` names the attempt; its reply carries the same. `timestamp` is in Unix seconds, new for
    each attempt. `keys` sign, newest first. `headers` are the endpoint's own. `deadline` is in
    seconds, from DNS to the answer's headers.
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
    """Headers in their order, and the body's exact bytes, which the signature covers."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


def pack(request: OutboundRequest) -> Packed:
    """Render and sign."""
    body = webhook.render(request.message)
    signed = signature.sign(request.keys, request.webhook_id, request.timestamp, body)
    headers = (
        ("content-type", "application/json"),
        ("user-agent", request.user_agent),
        (signature.ID_HEADER, request.webhook_id),
        (signature.TIMESTAMP_HEADER, str(request.timestamp)),
        (signature.SIGNATURE_HEADER, signed),
        *request.headers,
    )
    return Packed(headers, body)


class Reply(NamedTuple):
    """The end of one attempt.

    With `error` None it was delivered: a 2xx whose headers came whole. `detail` is a sentence for
    people, without a secret. `body` is the start of the receiver's answer (at most 16 KiB, 1 KiB
    after a 2xx). `retry_after` is the raw header, which the retry policy reads.
    """

    key: str
    status_code: int | None
    error: ErrorClass | None
    detail: str | None
    body: bytes
    duration: Micros
    retry_after: str | None = None
