"""Sending again all deliveries that match: the order, and its work in batches.

An order takes what had ended when it was placed. A row is taken only while its status still
matches, under its lock: two orders at once send nothing twice, and what fails anew is not taken by
the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, null, select, update

from relay.common.errors import Fault, Invalid, QuotaExceeded
from relay.common.events import TEST
from relay.common.ids import NewId, first_id
from relay.common.states import DeliveryStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, insert_rows, lock
from relay.db.tables import BulkRetry, Delivery, Endpoint, Listing
from relay.deliveries.sql import deliveries, delivery_moves
from relay.endpoints.rules.circuit_breaker import STEADY_AFTER
from relay.endpoints.sql import endpoint_moves, endpoints

WINDOW = 2_000  # ids read in one transaction
ORDERS = 10  # of one subscriber that may be worked on at once: each reads through its history


@dataclass(frozen=True, slots=True)
class Filter:
    """Deliveries of a status, of one endpoint or all, created from `since` to before `until`."""

    status: DeliveryStatus
    endpoint_id: str | None
    since: Micros
    until: Micros


def count(tx: Tx, subscriber_id: str, chosen: Filter, now: Micros) -> int:
    """How many deliveries an order would send again."""
    matching = (
        select(func.count())
        .select_from(Listing)
        .join(Delivery, Delivery.id == Listing.delivery_id)
        .join(Endpoint, Endpoint.id == Listing.endpoint_id)
        .where(
            Endpoint.deleted_at.is_(None),
            Listing.subscriber_id == subscriber_id,
            Listing.delivery_id >= first_id("msg", chosen.since),
            Listing.delivery_id < first_id("msg", chosen.until),
            Delivery.status == chosen.status,
            Delivery.finished_at <= now,
            Delivery.event != TEST.name,
        )
    )
    if chosen.endpoint_id is not None:
        matching = matching.where(Listing.endpoint_id == chosen.endpoint_id)
    return tx.execute(matching).scalar_one()


def check(tx: Tx, subscriber_id: str, chosen: Filter) -> None:
    """Refuse a filter by an endpoint that is not the subscriber's. Raises Invalid."""
    if chosen.endpoint_id is not None and not endpoints.owned(tx, subscriber_id, [chosen.endpoint_id]):
        raise Invalid([Fault("/endpoint_id", "is not an endpoint of yours; list them at /v1/endpoints")])


def order(tx: Tx, subscriber_id: str, chosen: Filter, now: Micros, new_id: NewId) -> str:
    """Place the order, which housekeeping works on; returns its id. Raises QuotaExceeded."""
    working = (BulkRetry.subscriber_id == subscriber_id) & BulkRetry.due_at.is_not(None)
    if tx.execute(select(func.count()).where(working)).scalar_one() >= ORDERS:
        raise QuotaExceeded(f"{ORDERS} such orders of yours are being worked on; wait until one is done")
    order_id = new_id("bulk")
    row = {
        "id": order_id,
        "subscriber_id": subscriber_id,
        "status": chosen.status,
        "endpoint_id": chosen.endpoint_id,
        "after_id": first_id("msg", chosen.since),
        "to_id": first_id("msg", chosen.until),
        "due_at": now,
        "created_at": now,
    }
    insert_rows(tx, BulkRetry, [row])
    return order_id


def is_due(tx: Tx) -> bool:
    """Whether an order waits to be worked on."""
    return tx.scalar(select(BulkRetry.id).where(BulkRetry.due_at.is_not(None)).limit(1)) is not None


def work(tx: Tx, now: Micros) -> int | None:
    """Work on the next order; how many it sent again, None where others are at all that there are.

    It does one window of ids and goes to the end of the queue, so that a long order holds up no
    short one.
    """
    placed = tx.execute(
        lock(
            select(BulkRetry.__table__)
            .where(BulkRetry.due_at.is_not(None))
            .order_by(BulkRetry.due_at)
            .limit(1),
            skip=True,
        )
    ).one_or_none()
    if placed is None:
        return None
    window = _window(tx, placed)
    retried = _send_again(tx, placed, window, now)
    is_done = len(window) < WINDOW
    tx.execute(
        update(BulkRetry)
        .where(BulkRetry.id == placed.id)
        .values(
            retried=BulkRetry.retried + retried,
            after_id=window[-1].id if window else placed.after_id,
            due_at=null() if is_done else now,
        )
    )
    return retried


def _window(tx: Tx, placed: Any) -> Sequence[Any]:
    """The next ids of the order, matching or not: a range of an index, however rare matches are."""
    in_scope = (
        Listing.subscriber_id == placed.subscriber_id
        if placed.endpoint_id is None
        else Listing.endpoint_id == placed.endpoint_id
    )
    columns = (Delivery.id, Delivery.status, Delivery.endpoint_id, Delivery.finished_at)
    return tx.execute(
        select(*columns)
        .join(Listing, Listing.delivery_id == Delivery.id)
        .where(in_scope, Listing.delivery_id > placed.after_id, Listing.delivery_id < placed.to_id)
        .order_by(Listing.delivery_id)
        .limit(WINDOW)
    ).all()


def _send_again(tx: Tx, placed: Any, window: Sequence[Any], now: Micros) -> int:
    """Make what matches due as of the order's moment, a backlog for which no new delivery waits."""
    matching = [
        row
        for row in window
        if row.status == placed.status
        and row.finished_at is not None
        and row.finished_at <= placed.created_at
    ]
    owners = endpoints.lock_in_order(tx, {row.endpoint_id for row in matching})
    ids = sorted(row.id for row in matching if owners[row.endpoint_id].deleted_at is None)
    still = (
        Delivery.subscriber_id == placed.subscriber_id,
        Delivery.status == placed.status,
        Delivery.finished_at <= placed.created_at,
        Delivery.event != TEST.name,
    )
    statement = update(Delivery).where(*still).values(delivery_moves.sent_anew(placed.created_at, now))
    changed = sum(
        tx.execute(statement.where(among(tx, Delivery.id, ids[start : start + deliveries.CHUNK]))).rowcount
        for start in range(0, len(ids), deliveries.CHUNK)
    )
    if changed:
        _note_backlog(tx, sorted(owners), placed.created_at)
        endpoint_moves.activate(tx, owners, now)
    return changed


def _note_backlog(tx: Tx, ids: Sequence[str], due_us: Micros) -> None:
    """Have what is due by this moment count as a backlog of these endpoints, as after a recovery.

    As the moment of the true recovery is lost by that, one that was steady until now forgets that
    it was ever blocked. (In this order: MySQL reads what an UPDATE has just set.)
    """
    later = case((Endpoint.recovered_at > due_us, Endpoint.recovered_at), else_=due_us)
    steady = Endpoint.opened_at.is_(None) & (Endpoint.recovered_at <= due_us - STEADY_AFTER)
    tx.execute(
        update(Endpoint)
        .where(among(tx, Endpoint.id, ids))
        .ordered_values(
            (Endpoint.blocked_since, case((steady, null()), else_=Endpoint.blocked_since)),
            (Endpoint.recovered_at, later),
        )
    )
