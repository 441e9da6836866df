"""Fails deliveries that waited too long behind a paused, disabled or open-circuit endpoint.

It also cancels what is pending at deleted endpoints. Each transaction is one endpoint and a few
hundred rows, so that nobody waits for it, however long the backlog is. An overdue delivery may lie
anywhere in a long queue (a failed probe goes to its end), so it is searched without a lock, for
which writers would wait; under the endpoint's lock, both the endpoint and the rows are read again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, select, update

from relay.common.ids import NewId
from relay.common.states import DeliveryStatus, EndpointStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among
from relay.db.tables import Delivery, Endpoint
from relay.deliveries.rules.retry_policy import BLOCKED_TOO_LONG, HELD_TOO_LONG, LOST
from relay.deliveries.sql import attempt_records, deliveries, delivery_moves
from relay.endpoints.rules.circuit_breaker import GIVE_UP_PROBES
from relay.endpoints.sql import endpoint_moves, endpoints

BATCH = 500


@dataclass(frozen=True, slots=True)
class Limit:
    """Deliveries that have waited since before a moment fail, where `is_over` holds."""

    before: Micros
    reason: str
    is_over: ColumnElement[bool]  # of an endpoint's row


def held_limit(before: Micros) -> Limit:
    """Of endpoints that are paused or disabled."""
    is_over = Endpoint.deleted_at.is_(None) & (Endpoint.held_at < before)
    return Limit(before, HELD_TOO_LONG, is_over)


def blocked_limit(before: Micros) -> Limit:
    """Of endpoints whose circuit is open, as `CircuitBreaker.wait_began_at` and `ends_waits` count.

    Held ones have their own limit.
    """
    is_open = (Endpoint.status == EndpointStatus.ACTIVE) & (Endpoint.probe_count >= GIVE_UP_PROBES)
    began_at = func.coalesce(Endpoint.blocked_since, Endpoint.opened_at)
    return Limit(before, BLOCKED_TOO_LONG, is_open & (began_at < before))


def endpoints_over(tx: Tx, limit: Limit) -> list[str]:
    """Endpoints that are over a limit now; their deliveries may be younger."""
    return list(tx.scalars(select(Endpoint.id).where(limit.is_over).order_by(Endpoint.id)))


def overdue(tx: Tx, endpoint_id: str, limit: Limit, now: Micros) -> list[str]:
    """A batch of such an endpoint's pending rows that have waited for too long: ids, in order.

    It goes by `due_at`, so that PostgreSQL reads the open rows' index and not the whole table.
    """
    of_endpoint = (Delivery.endpoint_id == endpoint_id) & _is_overdue(limit, now)
    return sorted(tx.scalars(select(Delivery.id).where(of_endpoint).order_by(Delivery.due_at).limit(BATCH)))


def fail_overdue(
    tx: Tx, endpoint_id: str, found: Sequence[str], limit: Limit, now: Micros, new_id: NewId
) -> int:
    """Fail those of the rows found that are overdue still, at an endpoint over the limit still.

    It may have been resumed since, or have answered. Returns how many rows failed.
    """
    endpoints.lock_in_order(tx, [endpoint_id])
    if tx.scalar(select(Endpoint.id).where(Endpoint.id == endpoint_id, limit.is_over)) is None:
        return 0
    rows = tx.execute(
        select(Delivery.id, Delivery.token, Delivery.attempt_count).where(
            among(tx, Delivery.id, found), _is_overdue(limit, now)
        )
    ).all()
    if not rows:
        return 0
    attempt_records.insert_lost(tx, [row for row in rows if row.token is not None], now, new_id)
    cancelled = Delivery.cancel_requested == 1  # while it was in flight, with a process that died
    status = case((cancelled, DeliveryStatus.CANCELLED.value), else_=DeliveryStatus.FAILED.value)
    tx.execute(
        update(Delivery)
        .where(among(tx, Delivery.id, sorted(row.id for row in rows)))
        .values(delivery_moves.ended(status, now))
        .values(last_error=case((cancelled, LOST), else_=limit.reason))
    )
    endpoint_moves.recompute(tx, [endpoint_id], now)
    return len(rows)


def _is_overdue(limit: Limit, now: Micros) -> ColumnElement[bool]:
    in_flight = Delivery.token.is_not(None) & (Delivery.due_at > now)
    return Delivery.due_at.is_not(None) & (Delivery.schedule_started_at < limit.before) & ~in_flight


def deleted_endpoints(tx: Tx) -> list[str]:
    """Deleted endpoints with deliveries that are still pending."""
    pending = (
        select(Delivery.id).where(Delivery.endpoint_id == Endpoint.id, Delivery.due_at.is_not(None)).exists()
    )
    return list(tx.scalars(select(Endpoint.id).where(Endpoint.deleted_at.is_not(None), pending)))


def cancel_deleted(tx: Tx, endpoint_id: str, now: Micros, new_id: NewId) -> int:
    """Cancel a batch of a deleted endpoint's pending deliveries; returns how many."""
    endpoints.lock_in_order(tx, [endpoint_id])
    cancelled = deliveries.cancel_of_endpoint(tx, endpoint_id, now)
    return cancelled + deliveries.end_lapsed(tx, endpoint_id, now, new_id)
