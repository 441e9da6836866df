"""The signing secret of an endpoint, or of its subscriber (None): read and rotated."""

from relay.common.errors import NotFound
from relay.common.ids import NewId
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.endpoints.sql import endpoints
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets


def current(tx: Tx, subscriber_id: str, endpoint_id: str | None, encryption: Encryption) -> str:
    """The newest secret that signs: the endpoint's own, else the subscriber's. Raises NotFound."""
    if endpoint_id is not None and not endpoints.owned(tx, subscriber_id, [endpoint_id]):
        raise NotFound("there is no such endpoint")
    return secrets.current(tx, subscriber_id, endpoint_id, encryption)


def rotate(
    tx: Tx,
    subscriber_id: str,
    endpoint_id: str | None,
    encryption: Encryption,
    now: Micros,
    new_id: NewId,
    *,
    overlap: int,
) -> str:
    """Make a new secret, as `secrets.rotate` does. Raises NotFound and Conflict."""
    if endpoint_id is not None:
        endpoints.lock_own(tx, subscriber_id, endpoint_id)
    return secrets.rotate(tx, subscriber_id, endpoint_id, encryption, now, new_id, overlap=overlap)
