"""One attempt on its way: from what was claimed to the bytes that leave.

The sender packs a parcel only when it is about to leave, so that no more bodies are made than are in flight.
"""

from typing import NamedTuple

from relay.core import signing, webhook
from relay.core.webhook import Message


class Parcel(NamedTuple):
    """What one attempt is made of.

    `key` names the attempt; its reply carries the same. `timestamp` is in Unix seconds, new for each attempt.
    `keys` sign, newest first. `headers` are the endpoint's own. `deadline` is in seconds, for the whole.
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


def pack(parcel: Parcel) -> Packed:
    """Render and sign."""
    body = webhook.render(parcel.message)
    signature = signing.sign(parcel.keys, parcel.webhook_id, parcel.timestamp, body)
    headers = (
        ("content-type", "application/json"),
        ("user-agent", parcel.user_agent),
        (signing.ID_HEADER, parcel.webhook_id),
        (signing.TIMESTAMP_HEADER, str(parcel.timestamp)),
        (signing.SIGNATURE_HEADER, signature),
        *parcel.headers,
    )
    return Packed(headers, body)
