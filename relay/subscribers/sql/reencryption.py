"""Re-encrypts every secret under the first key of the ring, in batches, while Relay runs.

Processes that run with the old ring can't decrypt texts under a key they lack: give every
process the new ring (new key first, old ones behind it) before this runs, and take the old keys
away after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from relay.common.errors import SettingsError
from relay.db.engine import Store, Tx
from relay.db.statements import update_rows
from relay.db.tables import Endpoint, IdempotentAnswer, SigningSecret
from relay.subscribers.encryption import Encryption

BATCH = 200  # rows of one transaction: they are locked while it runs


@dataclass(frozen=True, slots=True)
class Kind:
    """A column of encrypted texts: its name for people, the rows' key, and which rows have one."""

    name: str
    key: Any
    text: Any
    conditions: Sequence[Any] = ()


KINDS = (
    Kind("signing secrets", SigningSecret.id, SigningSecret.sealed),
    Kind("endpoints' headers", Endpoint.id, Endpoint.headers_sealed),
    Kind("stored responses", IdempotentAnswer.key, IdempotentAnswer.answer, (IdempotentAnswer.sealed == 1,)),
)


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """How many texts were re-encrypted, and the problem of each that can't be decrypted.

    `last` is the last key of a full batch, after which there may be more; None at the end.
    """

    count: int
    problems: list[str]
    last: str | None = None


def reencrypt(store: Store, encryption: Encryption, kind: Kind) -> Reencrypted:
    """Re-encrypt all texts of a kind, in rounds until one finds nothing to re-encrypt."""
    total = 0
    while True:
        result = _round(store, encryption, kind)
        total += result.count
        if result.count == 0:
            return Reencrypted(total, result.problems)


def _round(store: Store, encryption: Encryption, kind: Kind) -> Reencrypted:
    total, after = 0, ""
    problems: list[str] = []
    while True:
        batch = store.write(_batch, encryption, kind, after)
        total += batch.count
        problems += batch.problems
        if batch.last is None:
            return Reencrypted(total, problems)
        after = batch.last


def _batch(tx: Tx, encryption: Encryption, kind: Kind, after: str) -> Reencrypted:
    rows = tx.execute(
        select(kind.key.label("row"), kind.text.label("old"))
        .where(kind.key > after, kind.text.is_not(None), *kind.conditions)
        .where(~kind.text.startswith(f"{encryption.first}:"))
        .order_by(kind.key)
        .limit(BATCH)
    ).all()
    problems = []
    changes = []
    for row in rows:
        try:
            changes.append(
                {
                    "row": row.row,
                    "old": row.old,
                    "new": encryption.encrypt(row.row, encryption.decrypt(row.row, row.old)),
                }
            )
        except SettingsError as error:
            problems += error.problems
    statement = (
        update(kind.key.class_)
        # A text that has changed since is under the first key already.
        .where(kind.key == bindparam("row"), kind.text == bindparam("old"))
        .values({kind.text.key: bindparam("new")})
    )
    update_rows(tx, statement, changes)
    return Reencrypted(len(changes), problems, rows[-1].row if len(rows) == BATCH else None)
