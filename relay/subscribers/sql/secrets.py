"""Signing secrets of subscribers and of endpoints: made, read, and rotated with an overlap.

The newest secret with `expires_at` NULL is current; the others sign beside it until they expire. An
endpoint without a secret of its own signs with its subscriber's.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

from sqlalchemy import ScalarSelect, delete, func, or_, select, update

from relay.common.errors import Conflict, NotFound
from relay.common.ids import NewId
from relay.common.time import US_PER_SECOND, Micros
from relay.db import counters
from relay.db.engine import Tx
from relay.db.statements import among, insert_rows, lock
from relay.db.tables import Counter, Endpoint, SigningSecret, Subscriber
from relay.subscribers.encryption import Encryption
from relay.subscribers.rules.secret_texts import SECRET_BYTES, new_secret

SIGN_AT_ONCE = 10  # secrets of one owner: each makes the signature header 48 bytes longer
ROTATIONS = ("secret_rotations", "")  # the counter's name and label


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A stored secret, which signs until `expires_at`; `text` is encrypted for the row `id`."""

    id: str
    text: str = field(repr=False)
    expires_at: Micros | None


def create(
    tx: Tx, subscriber_id: str, endpoint_id: str | None, encryption: Encryption, now: Micros, new_id: NewId
) -> str:
    """Make a secret for an endpoint, or for the subscriber itself (None); returns its text."""
    secret = new_secret(token_bytes(SECRET_BYTES))
    _keep(tx, subscriber_id, endpoint_id, encryption, [(secret, None)], now, new_id)
    return secret


def current(tx: Tx, subscriber_id: str, endpoint_id: str | None, encryption: Encryption) -> str:
    """The newest secret that signs for the endpoint, or for the subscriber itself (None).

    Raises:
        NotFound: there is none.
    """
    for owner in dict.fromkeys((endpoint_id, None)):
        row = tx.execute(
            select(SigningSecret.id, SigningSecret.sealed)
            .where(_of(subscriber_id, owner), SigningSecret.expires_at.is_(None))
            .order_by(SigningSecret.id.desc())
            .limit(1)
        ).one_or_none()
        if row is not None:
            return encryption.decrypt(row.id, row.sealed)
    raise NotFound("there is no secret yet; rotate makes one")


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
    """Make a new secret; the old ones go on signing for `overlap` seconds. Returns the new text.

    An endpoint that signed with the subscriber's secret gets its own, and the subscriber's goes on
    signing there for `overlap` seconds. The caller has locked the endpoint, so that exactly one
    secret is current afterwards.

    Raises:
        Conflict: too many secrets would sign at once.
    """
    if endpoint_id is None:
        _lock_subscriber(tx, subscriber_id)
    until = now + overlap * US_PER_SECOND
    mine = _of(subscriber_id, endpoint_id)
    if endpoint_id is not None and not _has_current(tx, mine):
        _take_over(tx, subscriber_id, endpoint_id, encryption, now, until, new_id)
    later = or_(SigningSecret.expires_at.is_(None), SigningSecret.expires_at > until)
    tx.execute(update(SigningSecret).where(mine, later).values(expires_at=until))
    tx.execute(delete(SigningSecret).where(mine, SigningSecret.expires_at <= now))
    if tx.execute(select(func.count()).where(mine)).scalar_one() >= SIGN_AT_ONCE:
        raise Conflict(
            f"{SIGN_AT_ONCE} secrets sign already; wait until an old one runs out, or rotate with a smaller"
            " overlap_seconds, which also shortens the life of the old ones"
        )
    secret = create(tx, subscriber_id, endpoint_id, encryption, now, new_id)
    counters.add_totals(tx, {ROTATIONS: 1})  # last, as rotations of all subscribers wait for each other here
    return secret


def rotations() -> ScalarSelect[Any]:
    """How often secrets were rotated, all subscribers' together: a column for another statement.

    It changes in the transaction that rotates: two equal numbers mean no rotation in between.
    """
    name, label = ROTATIONS
    return select(Counter.value).where(Counter.name == name, Counter.label == label).scalar_subquery()


def signing(tx: Tx, endpoint_ids: Collection[str], now: Micros) -> dict[str, list[StoredSecret]]:
    """Endpoint id → the secrets that sign for it now: the current one, then by latest expiry."""
    owners = tx.execute(
        select(Endpoint.id, Endpoint.subscriber_id).where(among(tx, Endpoint.id, sorted(endpoint_ids)))
    )
    subscriber_of: dict[str, str] = {row.id: row.subscriber_id for row in owners}
    own: dict[str, list[Any]] = {}
    for row in _signing_rows(tx, subscriber_of, now):
        own.setdefault(row.endpoint_id or row.subscriber_id, []).append(row)
    return {
        endpoint_id: [
            StoredSecret(row.id, row.sealed, row.expires_at)
            for row in _chosen(own.get(endpoint_id), own.get(subscriber_id))
        ]
        for endpoint_id, subscriber_id in subscriber_of.items()
    }


def _signing_rows(tx: Tx, subscriber_of: dict[str, str], now: Micros) -> Iterable[Any]:
    """Every secret that signs for these endpoints or their subscribers, the current ones first."""
    if not subscriber_of:
        return ()
    mine = among(tx, SigningSecret.endpoint_id, sorted(subscriber_of))
    theirs = SigningSecret.endpoint_id.is_(None) & among(
        tx, SigningSecret.subscriber_id, sorted(set(subscriber_of.values()))
    )
    signs = or_(SigningSecret.expires_at.is_(None), SigningSecret.expires_at > now)
    rows = tx.execute(select(SigningSecret.__table__).where(or_(mine, theirs), signs))
    return sorted(rows, key=lambda row: (row.expires_at is None, row.expires_at, row.id), reverse=True)


def _chosen(own: list[Any] | None, shared: list[Any] | None) -> list[Any]:
    """An endpoint's own secrets if one of them is current, else its subscriber's."""
    if own and any(row.expires_at is None for row in own):
        return own
    return shared or []


def _lock_subscriber(tx: Tx, subscriber_id: str) -> None:
    """Lock the subscriber, so that its rotations run one after another."""
    tx.execute(lock(select(Subscriber.id).where(Subscriber.id == subscriber_id))).one()


def _of(subscriber_id: str, endpoint_id: str | None) -> Any:
    # IS NULL or =, so that either can use its index.
    owner = (
        SigningSecret.endpoint_id.is_(None)
        if endpoint_id is None
        else SigningSecret.endpoint_id == endpoint_id
    )
    return owner & (SigningSecret.subscriber_id == subscriber_id)


def _has_current(tx: Tx, mine: Any) -> bool:
    return (
        tx.scalar(select(SigningSecret.id).where(mine, SigningSecret.expires_at.is_(None)).limit(1))
        is not None
    )


def _take_over(
    tx: Tx,
    subscriber_id: str,
    endpoint_id: str,
    encryption: Encryption,
    now: Micros,
    until: Micros,
    new_id: NewId,
) -> None:
    """Copy the subscriber's signing secrets to this endpoint, where they sign until `until`."""
    shared = tx.execute(
        select(SigningSecret.__table__)
        .where(
            _of(subscriber_id, None), or_(SigningSecret.expires_at.is_(None), SigningSecret.expires_at > now)
        )
        .order_by(SigningSecret.id)
    ).all()
    copies = [(encryption.decrypt(row.id, row.sealed), min(row.expires_at or until, until)) for row in shared]
    _keep(tx, subscriber_id, endpoint_id, encryption, copies, now, new_id)


def _keep(
    tx: Tx,
    subscriber_id: str,
    endpoint_id: str | None,
    encryption: Encryption,
    texts: Iterable[tuple[str, Micros | None]],
    now: Micros,
    new_id: NewId,
) -> None:
    """Encrypt and insert secrets, each with its `expires_at`."""
    rows = [
        {
            "id": (secret_id := new_id("sec")),
            "subscriber_id": subscriber_id,
            "endpoint_id": endpoint_id,
            "sealed": encryption.encrypt(secret_id, text),
            "created_at": now,
            "expires_at": expires_at,
        }
        for text, expires_at in texts
    ]
    insert_rows(tx, SigningSecret, rows)
