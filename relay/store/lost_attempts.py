"""Attempts that nobody lived to record: who takes or ends a row whose lease ran out writes them as `lost`."""

from collections.abc import Iterable
from typing import Any

from relay.core.ids import Mint
from relay.core.records import Micros
from relay.core.states import ErrorClass
from relay.store.engine import Tx
from relay.store.statements import insert_rows
from relay.store.tables import Attempt

LOST_DETAIL = "the process that sent this ended before the answer was recorded"


def record(tx: Tx, rows: Iterable[Any], now: Micros, mint: Mint) -> None:
    """Record the last attempt of each row (with `id` and `attempt_count`), whose endpoints are locked."""
    lost = [
        {
            "delivery_id": row.id,
            "number": row.attempt_count,
            "id": mint("att"),
            "started_at": now,
            "error": ErrorClass.LOST,
            "detail": LOST_DETAIL,
        }
        for row in rows
    ]
    insert_rows(tx, Attempt, lost)
