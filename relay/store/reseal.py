"""Sealing every secret anew under the first key of the ring, batch by batch, while everything goes on.

Processes that run with the old ring can't open what is sealed under a key they lack: give every process the new
ring (new key first, old ones behind it) before this runs, and take the old keys away after it.
"""

from typing import Any

from sqlalchemy import bindparam, select, update

from relay.store.engine import Tx
from relay.store.tables import Endpoint, IdempotentAnswer, SigningSecret
from relay.store.vault import Vault

BATCH = 200
SEALED = (
    (SigningSecret.id, SigningSecret.sealed, ()),
    (Endpoint.id, Endpoint.headers_sealed, ()),
    (IdempotentAnswer.key, IdempotentAnswer.answer, (IdempotentAnswer.sealed == 1,)),
)


def batch(tx: Tx, vault: Vault) -> int:
    """Seal a batch anew; returns how many were still under another key."""
    return sum(_batch_of(tx, vault, key, text, conditions) for key, text, conditions in SEALED)


def _batch_of(tx: Tx, vault: Vault, key: Any, text: Any, conditions: tuple[Any, ...]) -> int:
    rows = tx.execute(
        select(key.label("key"), text.label("text"))
        .where(text.is_not(None), ~text.startswith(f"{vault.first}:"), *conditions)
        .order_by(key)
        .limit(BATCH)
    ).all()
    statement = (
        update(key.class_)
        .where(key == bindparam("row"), text == bindparam("old"))  # who changed it meanwhile sealed it anew
        .values({text.key: bindparam("new")})
    )
    for row in rows:
        tx.execute(
            statement,
            {"row": row.key, "old": row.text, "new": vault.seal(row.key, vault.open(row.key, row.text))},
        )
    return len(rows)
