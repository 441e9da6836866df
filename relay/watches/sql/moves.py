"""How a watch's row changes state: the columns of each state are set here and nowhere else.

state     status                                       due_at        waiting_key   finished_at
waiting   waiting                                      its deadline  set           NULL
ended     success, fail, missing, expired, cancelled   NULL          NULL          set
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, update

from relay.common.states import WatchStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, insert_rows
from relay.db.tables import Watch

CHUNK = 500  # rows of one statement: few enough parameters for every database


def insert_waiting(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert new watches, which wait until they expire; the UNIQUE key refuses equal ones."""
    insert_rows(
        tx, Watch, [{**row, "status": WatchStatus.WAITING, "due_at": row["expires_at"]} for row in rows]
    )


def end(tx: Tx, ids: Sequence[str], status: WatchStatus, now: Micros) -> None:
    """End these watches, whose jobs are locked."""
    for start in range(0, len(ids), CHUNK):
        end_where(tx, among(tx, Watch.id, ids[start : start + CHUNK]), status, now)


def end_where(tx: Tx, condition: ColumnElement[bool], status: WatchStatus, now: Micros) -> None:
    """End the watches that meet this condition, whose jobs are locked."""
    ended = {"status": status, "due_at": None, "waiting_key": None, "finished_at": now}
    tx.execute(update(Watch).where(condition).values(ended))
