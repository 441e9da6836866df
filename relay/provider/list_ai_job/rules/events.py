"""VOD's event notifications: whether VOD has signed one, and which jobs it names.

The provider signs its callback's URL and a time, not the body. So an event is never taken for
truth: it only names a job to ask about now.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.response_parser import IDS_PER_CALL

TOLERANCE = 300  # seconds that a notification's time may be off, either way


def is_signed(
    callback_url: str, keys: Sequence[str], *, timestamp: str | None, signature: str | None, now: Micros
) -> bool:
    """Whether the two headers were made with one of the keys within five minutes of now.

    X-VOD-SIGNATURE is hex MD5 of `CallbackURL|X-VOD-TIMESTAMP|AuthKey`, in any letter case;
    `callback_url` is the text configured at the provider, not the request's URL. Each key is
    compared, in constant time.
    """
    if timestamp is None or signature is None or not re.fullmatch("[0-9]{10}", timestamp):
        return False
    given = signature.lower().encode("utf-8", "surrogatepass")
    matches = [
        hmac.compare_digest(sign(callback_url, key, timestamp).encode(), given) for key in keys
    ]  # a list: every key is compared, so that the time taken does not depend on which it was
    return any(matches) and abs(now - int(timestamp) * US_PER_SECOND) <= TOLERANCE * US_PER_SECOND


def sign(callback_url: str, key: str, timestamp: str) -> str:
    """The signature of a notification; the provider has chosen the algorithm."""
    text = f"{callback_url}|{timestamp}|{key}".encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


_JOB_ID = re.compile(rb'"JobId"\s*:\s*"([A-Za-z0-9_-]{1,64})"')


def job_ids(body: bytes) -> list[str]:
    """The jobs that a body names, in its order, at most as many as one call asks about.

    The text is searched, not parsed: this takes every shape, a broken one too, in one pass without
    recursion (8 MiB in some milliseconds). `Data`'s own text can't match, as its quotes are
    escaped; and a wrong match only costs a place in a poll.
    """
    found: dict[str, None] = {}
    for match in _JOB_ID.finditer(body):
        found[match[1].decode()] = None
        if len(found) == IDS_PER_CALL:
            break
    return list(found)
