"""Signs webhooks: Standard Webhooks 1.0, symmetric (`v1`).

What is signed is `id.timestamp.body`, with HMAC-SHA256 under the bytes that `whsec_…` encodes.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"


def sign(keys: Sequence[bytes], msg_id: str, timestamp_seconds: int, body: bytes) -> str:
    """Sign the exact bytes of a body: one `v1,…` for each key, joined by spaces.

    Several keys sign while one replaces another.
    """
    signed = b"%s.%d.%s" % (msg_id.encode(), timestamp_seconds, body)
    digests = [hmac.digest(key, signed, hashlib.sha256) for key in keys]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
