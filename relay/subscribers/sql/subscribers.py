"""Subscribers and their API keys. Only a key's SHA-256 is stored; its text is shown once."""

import hashlib
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

from sqlalchemy import select, update

from relay.common.errors import Conflict, Fault, Invalid, NotFound
from relay.common.ids import NewId
from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx
from relay.db.statements import insert_if_absent, insert_rows
from relay.db.tables import ApiKey, Subscriber
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets

KEY_PREFIX = "rk_"
KEY_BYTES = 32  # of randomness: no dictionary helps, so a plain hash is enough at rest
KEY_PREFIX_LENGTH = 10  # `rk_` and 7 letters: people can distinguish keys, and guess nothing
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class NewSubscriber:
    """A subscriber as it is shown once, with its first API key and its signing secret."""

    id: str
    api_key: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key as it is shown once."""

    id: str
    api_key: str = field(repr=False)


def add(tx: Tx, name: str, encryption: Encryption, now: Micros, new_id: NewId) -> NewSubscriber:
    """Make a subscriber with an API key and a signing secret.

    Raises:
        Invalid: the name is empty, too long or not printable.
        Conflict: the name is taken.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid([Fault("/name", f"must be 1 to {LONGEST_NAME} printable characters")])
    subscriber_id = new_id("sub")
    row = {"id": subscriber_id, "name": name, "created_at": now}
    insert_if_absent(tx, Subscriber, [row])
    if tx.scalar(select(Subscriber.id).where(Subscriber.name == name)) != subscriber_id:
        raise Conflict("there is a subscriber of that name already; choose another name, or add a key to it")
    key = _add_key(tx, subscriber_id, now, new_id)
    secret = secrets.create(tx, subscriber_id, None, encryption, now, new_id)
    return NewSubscriber(subscriber_id, key.api_key, secret)


def authenticate(tx: Tx, sha256: str) -> str | None:
    """The subscriber whose key has this hash; None if the key is revoked or they are disabled."""
    return tx.scalar(
        select(ApiKey.subscriber_id)
        .join(Subscriber, Subscriber.id == ApiKey.subscriber_id)
        .where(ApiKey.sha256 == sha256, ApiKey.revoked_at.is_(None), Subscriber.disabled_at.is_(None))
    )


def key_hash(api_key: str) -> str:
    """The hash by which a key is known."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def list_all(tx: Tx) -> list[dict[str, Any]]:
    """Every subscriber, oldest first, with the ids and prefixes (`hint`) of its keys."""
    keys: dict[str, list[dict[str, Any]]] = {}
    for row in tx.execute(select(ApiKey.__table__).order_by(ApiKey.id)):
        keys.setdefault(row.subscriber_id, []).append(
            {
                "id": row.id,
                "hint": row.key_prefix,
                "created_at": rfc3339(row.created_at),
                "revoked_at": _time(row.revoked_at),
            }
        )
    return [
        {
            "id": row.id,
            "name": row.name,
            "created_at": rfc3339(row.created_at),
            "disabled_at": _time(row.disabled_at),
            "keys": keys.get(row.id, []),
        }
        for row in tx.execute(select(Subscriber.__table__).order_by(Subscriber.id))
    ]


def disable(tx: Tx, subscriber: str, now: Micros) -> str:
    """Refuse the keys of the subscriber with this id or name. Returns the id; raises NotFound."""
    subscriber_id = _find(tx, subscriber)
    tx.execute(
        update(Subscriber)
        .where(Subscriber.id == subscriber_id, Subscriber.disabled_at.is_(None))
        .values(disabled_at=now)
    )
    return subscriber_id


def add_key(tx: Tx, subscriber: str, now: Micros, new_id: NewId) -> NewKey:
    """Make another key for a subscriber, by its id or name. Raises NotFound."""
    return _add_key(tx, _find(tx, subscriber), now, new_id)


def revoke_key(tx: Tx, key: str, now: Micros) -> str:
    """Refuse one key from now on, by its id or prefix; returns the id.

    Raises:
        NotFound: there is no such key that is not revoked.
        Conflict: several keys have this prefix.
    """
    named = (ApiKey.id == key) | (ApiKey.key_prefix == key)
    # Two keys may share a prefix; a revoked key must not hide the other.
    ids = (
        list(tx.scalars(select(ApiKey.id).where(named, ApiKey.revoked_at.is_(None)))) if key.isascii() else []
    )
    if not ids:
        raise NotFound("there is no such key; `subscriber list` shows ids and hints")
    if len(ids) > 1:
        raise Conflict("several keys have this hint; name the key by its id")
    tx.execute(update(ApiKey).where(ApiKey.id == ids[0]).values(revoked_at=now))
    return ids[0]


def _add_key(tx: Tx, subscriber_id: str, now: Micros, new_id: NewId) -> NewKey:
    text = KEY_PREFIX + token_urlsafe(KEY_BYTES)
    key = NewKey(new_id("key"), text)
    row = {"id": key.id, "subscriber_id": subscriber_id, "sha256": key_hash(text), "created_at": now}
    insert_rows(tx, ApiKey, [row | {"key_prefix": text[:KEY_PREFIX_LENGTH]}])
    return key


def _find(tx: Tx, subscriber: str) -> str:
    named = Subscriber.name == subscriber
    if subscriber.isascii():  # as ids are: MySQL refuses to compare an id with other text
        named |= Subscriber.id == subscriber
    found = tx.scalar(select(Subscriber.id).where(named).order_by(Subscriber.id).limit(1))
    if found is None:
        raise NotFound("there is no such subscriber; `subscriber list` shows them")
    return found


def _time(time_us: Micros | None) -> str | None:
    return None if time_us is None else rfc3339(time_us)
