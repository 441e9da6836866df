"""The health of endpoints as columns: read from locked rows, written where it has changed."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, func, update

from relay.common.states import EndpointStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import update_rows
from relay.db.tables import Endpoint
from relay.endpoints.rules.circuit_breaker import CircuitBreaker
from relay.endpoints.rules.endpoint_update import EndpointLimits, EndpointUpdate
from relay.endpoints.sql import endpoint_moves

LIMIT_COLUMNS = tuple(getattr(Endpoint, name) for name in EndpointLimits._fields)
CIRCUIT_COLUMNS = tuple(getattr(Endpoint, member.name) for member in fields(CircuitBreaker))
_limits = attrgetter(*(column.key for column in LIMIT_COLUMNS))
_circuit = attrgetter(*(column.key for column in CIRCUIT_COLUMNS))


def circuit_of(row: Any) -> CircuitBreaker:
    """The circuit breaker of a locked row."""
    concurrency_limit, warmed_up, *others = _circuit(row)
    return CircuitBreaker(concurrency_limit, bool(warmed_up), *others)


def columns_of(circuit: CircuitBreaker) -> dict[str, Any]:
    """The columns that hold a circuit breaker."""
    return {column.key: getattr(circuit, column.key) for column in CIRCUIT_COLUMNS} | {
        "warmed_up": int(circuit.warmed_up)
    }


def updates_of(owners: Mapping[str, Any]) -> dict[str, EndpointUpdate]:
    """Endpoint id → its update, unchanged yet, for rows that `lock_in_order` returned."""
    updates = {}
    for endpoint_id, row in owners.items():
        limits, circuit = EndpointLimits._make(_limits(row)), circuit_of(row)
        is_disabled = row.status == EndpointStatus.DISABLED
        updates[endpoint_id] = EndpointUpdate(endpoint_id, limits, is_disabled, circuit, circuit)
    return updates


def save(tx: Tx, updates: Iterable[EndpointUpdate], now: Micros) -> None:
    """Write what a batch has changed of locked endpoints, and disable those that it says so of."""
    in_order = sorted(updates, key=attrgetter("endpoint_id"))
    rows = [
        {f"new_{column}": value for column, value in columns_of(endpoint.circuit).items()}
        | {"row": endpoint.endpoint_id, "new_error": endpoint.last_error}
        for endpoint in in_order
        if endpoint.has_changed
    ]
    update_rows(tx, _SAVE, rows)
    for endpoint in in_order:
        if endpoint.disabled_reason is not None and endpoint.becomes_disabled:
            endpoint_moves.disable(tx, endpoint.endpoint_id, endpoint.disabled_reason, now)


_SAVE = (
    update(Endpoint)
    .where(Endpoint.id == bindparam("row"))
    .values({column.key: bindparam(f"new_{column.key}") for column in CIRCUIT_COLUMNS})
    .values(
        last_error=func.coalesce(bindparam("new_error", type_=Endpoint.last_error.type), Endpoint.last_error)
    )
)
