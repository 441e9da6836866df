"""From a claimed row to what is POSTed: the body's exact bytes, and the headers that sign them."""

from relay.core import signing, webhook
from relay.core.records import SECOND, Micros, Parcel
from relay.core.states import Event
from relay.store.delivery_payloads import Claimed
from relay.store.keyring import Keyring


def parcel_of(
    claimed: Claimed, key: str, now: Micros, *, keyring: Keyring, user_agent: str, deadline: float
) -> Parcel:
    """Render and sign one attempt, begun `now`, that may take `deadline` seconds.

    Raises:
        SettingsError: a secret of this delivery's does not open.
    """
    body = body_of(claimed)
    timestamp = now // SECOND
    secrets = keyring.secrets(claimed, now)
    headers = (
        ("content-type", "application/json"),
        ("user-agent", user_agent),
        ("webhook-id", claimed.id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signing.sign(secrets, claimed.id, timestamp, body)),
        *keyring.headers(claimed.endpoint_id, claimed.headers_sealed),
    )
    return Parcel(key, claimed.url, headers, body, deadline)


def body_of(claimed: Claimed) -> bytes:
    """The webhook's body; the same bytes at every attempt."""
    if claimed.content is not None:
        return webhook.render_notice(Event(claimed.event), claimed.created_at, claimed.content)
    job = claimed.job
    assert claimed.watch_id is not None
    assert claimed.metadata is not None
    assert job is not None
    return webhook.render(
        Event(claimed.event),
        claimed.created_at,
        watch_id=claimed.watch_id,
        metadata=claimed.metadata,
        job=job,
        data_bytes=claimed.data_bytes,
    )
