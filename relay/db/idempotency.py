"""Idempotency-Key in SQL: one transaction commits key, effect and response.

`begin` inserts the key's row, the first lock of its transaction. A second request with the same key
waits there until that transaction ends, and then finds the response, or takes the key over if the
transaction was rolled back. On SQLite the write lock itself makes such requests wait.
"""

import hashlib
import json
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from relay.common.errors import Conflict, Fault, Invalid
from relay.common.time import Micros
from relay.db.dialects import ErrorKind, Tx, dialect_of
from relay.db.statements import insert_if_absent
from relay.db.tables import IdempotentAnswer


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A POST with a key: `row` is the hash of the key and its scope, `body` the body's hash."""

    row: str
    body: str


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The stored response of a key; where `sealed`, `text` is encrypted for the key's row."""

    status: int
    text: str = field(repr=False)
    sealed: bool


def keyed(subscriber_id: str, method: str, path: str, key: str, body: bytes) -> IdempotentRequest:
    """The key belongs to subscriber, method and path, and stands for the exact body."""
    scope = json.dumps([subscriber_id, method, path, key])
    return IdempotentRequest(hashlib.sha256(scope.encode()).hexdigest(), hashlib.sha256(body).hexdigest())


def begin(tx: Tx, post: IdempotentRequest, now: Micros) -> StoredResponse | None:
    """Take the key, or return its stored response.

    Raises:
        Invalid: it was used with another body.
        Conflict: another request with this key kept its lock for the whole lock time-out.
    """
    row = {"key": post.row, "body_sha256": post.body, "sealed": 0, "created_at": now}
    try:
        insert_if_absent(tx, IdempotentAnswer, [row])
    except OperationalError as error:
        if dialect_of(tx).error_kind(error) is ErrorKind.LOCK_WAIT:
            raise Conflict(
                "a request with this Idempotency-Key is still at work; send it again later"
            ) from None
        raise
    kept = tx.execute(select(IdempotentAnswer.__table__).where(IdempotentAnswer.key == post.row)).one()
    if kept.status is None:  # ours: other transactions' rows are visible only once committed, with a status
        return None
    if kept.body_sha256 != post.body:
        raise Invalid(
            [Fault("", "this Idempotency-Key came with another body before; use a new key for a new request")]
        )
    return StoredResponse(kept.status, kept.answer, bool(kept.sealed))


def finish(tx: Tx, post: IdempotentRequest, answer: StoredResponse) -> None:
    """Store the response in the transaction that had the effect."""
    tx.execute(
        update(IdempotentAnswer)
        .where(IdempotentAnswer.key == post.row)
        .values(status=answer.status, answer=answer.text, sealed=int(answer.sealed))
    )
