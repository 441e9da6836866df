"""Sending again all deliveries that match: the order, and its work in batches.

An order takes what had ended when it was given. A row is taken only while its status still matches, under its
lock: two orders at once send nothing twice, and what fails anew is not taken by the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, null, select, update

from relay.core.ids import Mint, first_id
from relay.core.records import Micros
from relay.core.states import DeliveryStatus, Event
from relay.store import endpoints
from relay.store.engine import Tx, among, insert_rows, lock
from relay.store.tables import BulkRetry, Delivery, Endpoint

WINDOW = 2_000  # ids looked at in one transaction
RETRIABLE = (DeliveryStatus.FAILED, DeliveryStatus.DELIVERED, DeliveryStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries: their status, one endpoint or all, made at or after `since` and before `until`."""

    status: DeliveryStatus
    endpoint_id: str | None
    since: Micros
    until: Micros


def count(tx: Tx, subscriber_id: str, wanted: Filter, now: Micros) -> int:
    """How many deliveries an order would send again."""
    here = Endpoint.deleted_at.is_(None)
    statement = select(func.count()).select_from(Delivery).join(Endpoint, Endpoint.id == Delivery.endpoint_id)
    return tx.execute(statement.where(here, *_matching(subscriber_id, wanted, now))).scalar_one()


def order(tx: Tx, subscriber_id: str, wanted: Filter, now: Micros, mint: Mint) -> str:
    """Give the order; a tidier works it off. Returns its id."""
    order_id = mint("bulk")
    row = {
        "id": order_id,
        "subscriber_id": subscriber_id,
        "status": wanted.status,
        "endpoint_id": wanted.endpoint_id,
        "from_id": first_id("msg", wanted.since),
        "to_id": first_id("msg", wanted.until),
        "after_id": first_id("msg", wanted.since),
        "due_at": now,
        "created_at": now,
    }
    insert_rows(tx, BulkRetry, [row])
    return order_id


def is_due(tx: Tx) -> bool:
    """Whether an order waits to be worked on."""
    return tx.scalar(select(BulkRetry.id).where(BulkRetry.due_at.is_not(None)).limit(1)) is not None


def work(tx: Tx, now: Micros) -> int | None:
    """Work off a window of the oldest order that nobody else is at; how many it sent again, None without one."""
    given = tx.execute(
        lock(
            select(BulkRetry.__table__)
            .where(BulkRetry.due_at.is_not(None))
            .order_by(BulkRetry.due_at)
            .limit(1),
            skip=True,
        )
    ).one_or_none()
    if given is None:
        return None
    window = _window(tx, given)
    retried = _send_again(tx, given, window, now) if window else 0
    done = len(window) < WINDOW
    tx.execute(
        update(BulkRetry)
        .where(BulkRetry.id == given.id)
        .values(
            retried=BulkRetry.retried + retried,
            after_id=window[-1].id if window else given.after_id,
            due_at=null() if done else given.due_at,
        )
    )
    return retried


def _matching(subscriber_id: str, wanted: Filter, now: Micros) -> list[Any]:
    conditions = [
        Delivery.subscriber_id == subscriber_id,
        Delivery.id >= first_id("msg", wanted.since),
        Delivery.id < first_id("msg", wanted.until),
        Delivery.status == wanted.status,
        Delivery.finished_at <= now,
        Delivery.event != Event.TEST,
    ]
    return (
        conditions
        if wanted.endpoint_id is None
        else [*conditions, Delivery.endpoint_id == wanted.endpoint_id]
    )


def _window(tx: Tx, given: Any) -> Sequence[Any]:
    """The next ids of the order, matching or not: a range of an index, however rare the matches are."""
    here = (
        Delivery.subscriber_id == given.subscriber_id
        if given.endpoint_id is None
        else Delivery.endpoint_id == given.endpoint_id
    )
    columns = (
        Delivery.id,
        Delivery.status,
        Delivery.endpoint_id,
        Delivery.subscriber_id,
        Delivery.finished_at,
    )
    return tx.execute(
        select(*columns)
        .where(here, Delivery.id > given.after_id, Delivery.id < given.to_id)
        .order_by(Delivery.id)
        .limit(WINDOW)
    ).all()


def _send_again(tx: Tx, given: Any, window: Sequence[Any], now: Micros) -> int:
    matching = [
        row
        for row in window
        if row.status == given.status
        and row.subscriber_id == given.subscriber_id
        and row.finished_at is not None
        and row.finished_at <= given.created_at
    ]
    owners = endpoints.lock_in_order(tx, {row.endpoint_id for row in matching})
    ids = sorted(row.id for row in matching if owners[row.endpoint_id].deleted_at is None)
    if not ids:
        return 0
    still = (Delivery.status == given.status) & (Delivery.finished_at <= given.created_at)
    changed = tx.execute(
        update(Delivery)
        .where(among(tx, Delivery.id, ids), still, Delivery.event != Event.TEST)
        .values(
            status=DeliveryStatus.PENDING,
            due_at=now,
            since=now,
            step=0,
            lost_count=0,
            cancel_requested=0,
            finished_at=null(),
        )
    ).rowcount
    endpoints.wake(tx, owners, now)
    return changed
