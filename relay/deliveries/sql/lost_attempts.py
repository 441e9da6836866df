"""Attempts that nobody lived to record: who takes or ends a row whose lease ran out writes them as `lost`."""

from collections.abc import Iterable
from typing import Any

from relay.common.ids import NewId
from relay.common.states import ErrorClass
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import insert_rows
from relay.db.tables import Attempt

LOST_DETAIL = "the process that sent this ended before the answer was recorded"


def record(tx: Tx, rows: Iterable[Any], now: Micros, new_id: NewId) -> None:
    """Record the last attempt of each row (with `id` and `attempt_count`), whose endpoints are locked."""
    lost = [
        {
            "delivery_id": row.id,
            "number": row.attempt_count,
            "id": new_id("att"),
            "started_at": now,
            "error": ErrorClass.LOST,
            "detail": LOST_DETAIL,
        }
        for row in rows
    ]
    insert_rows(tx, Attempt, lost)
