"""The numbers of the whole fleet: what is pending and due, and the totals of its processes."""

from typing import Any

from sqlalchemy import case, func, select

from relay.common.states import EndpointStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.db.statements import among
from relay.db.tables import Counter, Delivery, Endpoint, Job, Watch
from relay.provider.registry import SOURCES
from relay.telemetry.fleet import FleetNumbers


def numbers(tx: Tx, now: Micros) -> FleetNumbers:
    """Count what is open, by indexes of open rows only, and the endpoints that do not send."""
    pending = {row.sends: row for row in _pending(tx, now)}
    sending, held = pending.get(1), pending.get(0)
    not_sending = _not_sending(tx)
    jobs = tx.execute(
        select(func.count().label("open"), _count_if(Job.due_at <= now).label("due")).where(
            among(tx, Job.source, [*SOURCES]), Job.due_at.is_not(None)
        )
    ).one()
    return FleetNumbers(
        deliveries_pending=sending.pending if sending else 0,
        deliveries_held=held.pending if held else 0,
        deliveries_due=int(sending.due) if sending else 0,
        oldest_due_seconds=max(now - sending.oldest, 0) / US_PER_SECOND if sending else 0.0,
        endpoints_open=not_sending.get(EndpointStatus.ACTIVE, 0),
        endpoints_paused=not_sending.get(EndpointStatus.PAUSED, 0),
        endpoints_disabled=not_sending.get(EndpointStatus.DISABLED, 0),
        jobs_open=jobs.open,
        jobs_due=int(jobs.due or 0),
        watches_waiting=tx.execute(select(func.count()).where(Watch.due_at.is_not(None))).scalar_one(),
        totals={(row.name, row.label): row.value for row in tx.execute(select(Counter.__table__))},
    )


def _pending(tx: Tx, now: Micros) -> Any:
    """Pending deliveries of endpoints that may send (1) and of the others (0)."""
    sends = case((Endpoint.status == EndpointStatus.ACTIVE, 1), else_=0).label("sends")
    return tx.execute(
        select(
            sends,
            func.count().label("pending"),
            _count_if(Delivery.due_at <= now).label("due"),
            func.min(Delivery.due_at).label("oldest"),
        )
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .where(Delivery.due_at.is_not(None), Endpoint.deleted_at.is_(None))
        .group_by(sends)
    )


def _not_sending(tx: Tx) -> dict[str, int]:
    """How many endpoints are paused, disabled, and active with an open circuit."""
    is_not_sending = (Endpoint.status != EndpointStatus.ACTIVE) | Endpoint.opened_at.is_not(None)
    counted = (
        select(Endpoint.status, func.count().label("number"))
        .where(is_not_sending, Endpoint.deleted_at.is_(None))
        .group_by(Endpoint.status)
    )
    return {row.status: row.number for row in tx.execute(counted)}


def _count_if(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))
