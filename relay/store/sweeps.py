"""The ends that no settle brings: what was held or blocked for too long, what a deleted endpoint is owed.

Each step is one endpoint and a few hundred rows, so that nobody waits for it, however long the backlog is.
"""

from sqlalchemy import func, null, select, update

from relay.core.ids import Mint
from relay.core.records import Micros
from relay.core.states import DeliveryStatus, EndpointStatus
from relay.store import deliveries, endpoints, lost_attempts
from relay.store.engine import Tx
from relay.store.statements import among
from relay.store.tables import Delivery, Endpoint

BATCH = 500
HELD_TOO_LONG = "held: its endpoint was paused or disabled for longer than records are kept"


def held_endpoints(tx: Tx, before: Micros) -> list[str]:
    """Endpoints that are paused or disabled since before this moment."""
    here = Endpoint.deleted_at.is_(None) & (Endpoint.held_at < before)
    return list(tx.scalars(select(Endpoint.id).where(here).order_by(Endpoint.held_at)))


def open_endpoints(tx: Tx, before: Micros) -> list[str]:
    """Endpoints whose circuit is open, and that are blocked since before this moment.

    That is `Pace.wait_began_at`. Held ones have their own limit.
    """
    is_open = (Endpoint.status == EndpointStatus.ACTIVE) & Endpoint.opened_at.is_not(None)
    began_at = func.coalesce(Endpoint.blocked_since, Endpoint.opened_at)
    return list(tx.scalars(select(Endpoint.id).where(is_open, began_at < before).order_by(Endpoint.id)))


def deleted_endpoints(tx: Tx) -> list[str]:
    """Deleted endpoints that are still owed something."""
    owed = (
        select(Delivery.id).where(Delivery.endpoint_id == Endpoint.id, Delivery.due_at.is_not(None)).exists()
    )
    return list(tx.scalars(select(Endpoint.id).where(Endpoint.deleted_at.is_not(None), owed)))


def clear_deleted(tx: Tx, endpoint_id: str, now: Micros, mint: Mint) -> int:
    """Cancel a batch of what a deleted endpoint is owed; returns how many rows were done."""
    endpoints.lock_in_order(tx, [endpoint_id])
    cancelled = deliveries.cancel_of_endpoint(tx, endpoint_id, now)
    return cancelled + deliveries.end_lapsed(tx, endpoint_id, now, mint)


def fail_overdue(
    tx: Tx, endpoint_id: str, waiting_since: Micros, reason: str, now: Micros, mint: Mint
) -> int:
    """Fail a batch of an endpoint's pending rows that have waited since before this moment; how many.

    They may lie anywhere in its queue, as a failed probe goes to its end. So they are looked for without the
    endpoint's lock, for which nobody shall wait so long (on SQLite all writers wait), and the rows, not the
    endpoint, are looked at again under it.
    """
    in_flight = Delivery.token.is_not(None) & (Delivery.due_at > now)
    is_overdue = Delivery.due_at.is_not(None) & (Delivery.since < waiting_since) & ~in_flight
    of_endpoint = (Delivery.endpoint_id == endpoint_id) & is_overdue
    found = tx.scalars(select(Delivery.id).where(of_endpoint).limit(BATCH)).all()
    if not found:
        return 0
    endpoints.lock_in_order(tx, [endpoint_id])
    rows = tx.execute(
        select(Delivery.id, Delivery.token, Delivery.attempt_count).where(
            among(tx, Delivery.id, sorted(found)), is_overdue
        )
    ).all()
    if not rows:
        return 0
    lost_attempts.record(tx, [row for row in rows if row.token is not None], now, mint)
    tx.execute(
        update(Delivery)
        .where(among(tx, Delivery.id, sorted(row.id for row in rows)))
        .values(status=DeliveryStatus.FAILED, due_at=null(), token=null(), finished_at=now, last_error=reason)
    )
    endpoints.look_again(tx, [endpoint_id], now)
    return len(rows)
