"""Records the results of attempts: a delivery changes only while its claim's token stands.

A batch locks its endpoints, reads its rows and leaves out the stale ones, so that a late process
can't overwrite its successor. The retry policy decides what becomes of the others, and each
endpoint learns from its answers. Whoever changes a delivery holds the lock of its endpoint, so the
rows need none of their own; only tests, which are claimed whatever their endpoint's state is, do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import select

from relay.common.events import TEST
from relay.common.states import ErrorClass
from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import lock
from relay.db.tables import Delivery
from relay.deliveries.rules.attempts import AttemptResult, RecordedResult
from relay.deliveries.rules.retry_policy import Decision, RetryPolicy
from relay.deliveries.sql import attempt_records, delivery_moves
from relay.deliveries.sql.attempt_records import error_text
from relay.endpoints.rules.endpoint_update import EndpointUpdate, HealthChange
from relay.endpoints.sql import endpoint_health, endpoint_moves, endpoints


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """What was recorded: each result with its decision, and how the endpoints' health changed."""

    results: list[RecordedResult]
    changes: list[HealthChange]


def record(tx: Tx, batch: Sequence[AttemptResult], *, now: Micros, policy: RetryPolicy) -> RecordedBatch:
    """Record a batch of results."""
    owners = endpoints.lock_in_order(tx, (result.attempt.endpoint_id for result in batch))
    updates = endpoint_health.updates_of(owners)
    rows = _read(tx, [result.attempt.delivery_id for result in batch])
    recorded = []
    for result in batch:
        attempt = result.attempt
        row = rows.get(attempt.delivery_id)
        is_live = row is not None and row.token == attempt.token and row.attempt_count == attempt.number
        decision = _decide(policy, result, row, updates[attempt.endpoint_id], now) if is_live else None
        recorded.append(RecordedResult(result, decision))
    live = [result for result, decision in recorded if decision is not None]
    delivery_moves.store_decisions(tx, recorded, now)
    attempt_records.insert(tx, live)
    endpoint_health.save(tx, updates.values(), now)
    endpoint_moves.recompute(tx, _to_recompute(live, owners, now), now)
    changes = [change for endpoint in updates.values() if (change := endpoint.change()) is not None]
    return RecordedBatch(recorded, changes)


def _decide(
    policy: RetryPolicy, result: AttemptResult, row: Any, endpoint: EndpointUpdate, now: Micros
) -> Decision:
    """Let the endpoint learn from the result, and decide by the circuit that the attempt met."""
    circuit, reply = endpoint.circuit, result.reply
    if row.event != TEST.name:  # a test is no sign of health either way
        if reply.error is None:
            endpoint.note_success(now)
        elif reply.error is not ErrorClass.INTERNAL:  # our own fault says nothing of the endpoint
            started_at, jitter = result.attempt.started_at, result.jitter
            endpoint.note_failure(
                error_text(reply), reply.status_code, now, started_at=started_at, jitter=jitter
            )
    return policy.decide(reply, row, endpoint, circuit, now, result.jitter)


def _to_recompute(live: Sequence[AttemptResult], owners: Mapping[str, Any], now: Micros) -> set[str]:
    """The endpoints whose `ready_at` may change: one that is ready stays ready after a success."""
    ready = {
        endpoint_id for endpoint_id, row in owners.items() if row.ready_at is not None and row.ready_at <= now
    }
    failed = {result.attempt.endpoint_id for result in live if result.reply.error is not None}
    return failed | ({result.attempt.endpoint_id for result in live} - ready)


def release(tx: Tx, claims: Sequence[tuple[str, str, str]], now: Micros) -> None:
    """Give back claims that were never sent: (delivery id, token, endpoint id) each."""
    owners = sorted({endpoint_id for _, _, endpoint_id in claims})
    endpoints.lock_in_order(tx, owners)
    for delivery_id, token, _ in sorted(claims):
        delivery_moves.release(tx, delivery_id, token, now)
    endpoint_moves.recompute(tx, owners, now)


def _read(tx: Tx, ids: Sequence[str]) -> dict[str, Any]:
    """The rows of a batch, whose endpoints are locked; tests are locked and read once more."""
    found = _rows(tx, _read_statement(dialect_of(tx)), ids)
    tests = [row.id for row in found.values() if row.event == TEST.name]
    return found | (_rows(tx, lock(_read_statement(dialect_of(tx))), tests) if tests else {})


def _rows(tx: Tx, statement: Any, ids: Sequence[str]) -> dict[str, Any]:
    rows = tx.execute(statement, {"ids": dialect_of(tx).packed(sorted(ids))})
    return {row.id: row for row in rows.all()}


@cache
def _read_statement(dialect: Dialect) -> Any:
    columns = (
        Delivery.id,
        Delivery.event,
        Delivery.token,
        Delivery.attempt_count,
        Delivery.retry_count,
        Delivery.schedule_started_at,
        Delivery.cancel_requested,
    )
    return select(*columns).where(dialect.listed(Delivery.id, "ids")).order_by(Delivery.id)
