"""The due rows of selected endpoints: an index lookup for each, whatever its backlog is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select

from relay.common.time import Micros
from relay.db.dialects import RowQuery, dialect_of
from relay.db.engine import Tx
from relay.db.leases import POISON_AFTER
from relay.db.statements import lock
from relay.db.tables import Delivery
from relay.deliveries.sql.delivery_payloads import DueDelivery

TESTS_PER_CLAIM = 10


class Branch(NamedTuple):
    """At most `most` of one endpoint's rows: those due after `after`, and not after `until`."""

    endpoint_id: str
    after: Micros
    until: Micros
    most: int


def first_due(
    tx: Tx, visited: Sequence[Any], granted: Mapping[str, int], now: Micros, *, poison: bool
) -> list[DueDelivery]:
    """The rows to take of each endpoint visited, as many as it was granted; locks none."""
    return _merge(_due_rows(tx, _branches(visited, granted, now), poison=poison), visited, granted)


def due_tests(tx: Tx, now: Micros) -> list[DueDelivery]:
    """Tests that are to be sent now, locked: they go whatever their endpoint's state is."""
    return [_due(row) for row in tx.execute(_TESTS, {"now": now})]


def is_poison(row: DueDelivery) -> bool:
    """Whether two processes in a row died with this row, counting the lease that just ran out."""
    return row.lost_count + (row.token is not None) >= POISON_AFTER


def _due(row: Any) -> DueDelivery:
    return DueDelivery(*row)


DUE_COLUMNS = (
    Delivery.id,
    Delivery.endpoint_id,
    Delivery.token,
    Delivery.attempt_count,
    Delivery.lost_count,
    Delivery.cancel_requested,
    Delivery.payload_bytes,
    Delivery.due_at,
)
_DUE_NAMES = ", ".join(column.key for column in DUE_COLUMNS)
_TESTS = lock(
    select(*DUE_COLUMNS)
    .where(Delivery.solo_at <= bindparam("now"))
    .order_by(Delivery.solo_at)
    .limit(TESTS_PER_CLAIM),
    skip=True,
)


def _branches(visited: Sequence[Any], granted: Mapping[str, int], now: Micros) -> list[Branch]:
    """What to look up: backlog and new rows of an endpoint that recovers are two branches."""
    branches = []
    for row in visited:
        if granted[row.id] > 0:
            split = row.recovered_at or 0
            if split:
                branches.append(Branch(row.id, -1, split, granted[row.id]))
            branches.append(Branch(row.id, split or -1, now, granted[row.id]))
    return branches


_DUE = (
    f"SELECT {_DUE_NAMES} FROM deliveries WHERE endpoint_id = {{endpoint_id}}"  # noqa: S608 - our own names
    " AND due_at > {after} AND due_at <= {until}%s ORDER BY due_at LIMIT {most}"
)
_TYPES = {"endpoint_id": "text", "after": "bigint", "until": "bigint", "most": "int"}
_NO_BRANCH = Branch("", 0, 0, 0)
_NOT_POISON = f" AND lost_count + CASE WHEN token IS NULL THEN 0 ELSE 1 END < {POISON_AFTER}"
_ALL_DUE = RowQuery(_DUE % "", _TYPES, _NO_BRANCH)
_DUE_BUT_POISON = RowQuery(_DUE % _NOT_POISON, _TYPES, _NO_BRANCH)


def _due_rows(tx: Tx, branches: Sequence[Branch], *, poison: bool) -> list[DueDelivery]:
    """The first due rows of several endpoints, each found by an index."""
    if not branches:
        return []
    query = _ALL_DUE if poison else _DUE_BUT_POISON
    return [_due(row) for row in dialect_of(tx).for_each(tx, query, branches)]


def _merge(
    rows: Sequence[DueDelivery], visited: Sequence[Any], granted: Mapping[str, int]
) -> list[DueDelivery]:
    """Oldest first; at an endpoint that recovers, every second slot is for rows that came since.

    So its backlog goes in order, and what is new does not wait for hours behind it.
    """
    recovered_at = {row.id: row.recovered_at or 0 for row in visited}
    old: dict[str, list[DueDelivery]] = {row.id: [] for row in visited}
    new: dict[str, list[DueDelivery]] = {row.id: [] for row in visited}
    for row in rows:
        is_new = (row.due_at or 0) > recovered_at[row.endpoint_id]
        (new if is_new else old)[row.endpoint_id].append(row)
    merged: list[DueDelivery] = []
    for endpoint_id, slots in ((row.id, granted[row.id]) for row in visited):
        backlog, fresh = old[endpoint_id], new[endpoint_id]
        for_fresh = max((slots + _odd(fresh)) // 2, slots - len(backlog)) if backlog else slots
        merged += fresh[:for_fresh]
        merged += backlog[: slots - min(for_fresh, len(fresh))]
    return merged


def _odd(fresh: Sequence[DueDelivery]) -> int:
    """1 where the odd slot is for a fresh row; it varies with the row, so that neither starves."""
    return int(fresh[0].id[-1], 16) % 2 if fresh else 0
