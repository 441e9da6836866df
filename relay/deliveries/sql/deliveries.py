"""Deliveries in SQL: what is owed, cancelled, and sent again by hand. Claims and settles are next door."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, null, select, update

from relay.common.errors import Conflict, NotFound, QuotaExceeded
from relay.common.ids import NewId
from relay.common.states import DeliveryStatus, EndpointStatus, Event
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, insert_rows, lock
from relay.db.tables import Delivery, Endpoint, Listing, Watch
from relay.deliveries.sql import lost_attempts
from relay.endpoints.sql import endpoints

CANCEL_BATCH = 5_000  # deliveries of a deleted endpoint that one transaction cancels
TESTS = 10  # of one subscriber that may be under way at once
CHUNK = 500  # rows of one statement


def enqueue(tx: Tx, rows: Sequence[Mapping[str, Any]], now: Micros) -> None:
    """Insert new deliveries, due now, and wake their endpoints, which are locked already."""
    add(tx, rows)
    endpoints.activate(tx, (row["endpoint_id"] for row in rows), now)


def add(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert deliveries as they are, and list them; wakes nobody."""
    insert_rows(tx, Delivery, rows)
    listings = [
        {"delivery_id": row["id"]}
        | {name: row[name] for name in ("subscriber_id", "endpoint_id", "watch_id")}
        for row in rows
    ]
    insert_rows(tx, Listing, listings)


def new_row(
    delivery_id: str,
    *,
    subscriber_id: str,
    watch_id: str | None,
    endpoint_id: str,
    event: str,
    payload_bytes: int,
    now: Micros,
) -> dict[str, Any]:
    """A pending delivery, due now."""
    return {
        "id": delivery_id,
        "subscriber_id": subscriber_id,
        "watch_id": watch_id,
        "endpoint_id": endpoint_id,
        "event": event,
        "status": DeliveryStatus.PENDING,
        "due_at": now,
        "payload_bytes": payload_bytes,
        "schedule_started_at": now,
        "created_at": now,
    }


def cancel_of_watch(tx: Tx, watch_id: str, now: Micros) -> None:
    """Cancel what a watch still owes; what is in flight finishes and is then not sent again."""
    of_watch = select(Listing.delivery_id).where(Listing.watch_id == watch_id)
    pending = Delivery.id.in_(of_watch) & (Delivery.status == DeliveryStatus.PENDING)
    owners = list(tx.scalars(select(Watch.endpoint_id).where(Watch.id == watch_id)))
    endpoints.lock_in_order(tx, owners)  # first: what the watch owes may be sent again by hand this moment
    tx.execute(update(Delivery).where(pending, Delivery.token.is_not(None)).values(cancel_requested=1))
    tx.execute(
        update(Delivery)
        .where(pending, Delivery.token.is_(None))
        .values(status=DeliveryStatus.CANCELLED, due_at=null(), finished_at=now)
    )
    endpoints.recompute(tx, owners, now)


def cancel_of_endpoint(tx: Tx, endpoint_id: str, now: Micros) -> int:
    """Cancel a batch of what a deleted endpoint is owed, which is locked; returns how many rows it touched.

    A row in flight is marked, and cancelled by its settle or, once its lease has run out, by
    `end_lapsed`.
    """
    pending = (Delivery.endpoint_id == endpoint_id) & Delivery.due_at.is_not(None)
    free = pending & Delivery.token.is_(None)
    ids = list(tx.scalars(select(Delivery.id).where(free).order_by(Delivery.due_at).limit(CANCEL_BATCH)))
    in_flight = pending & Delivery.token.is_not(None) & (Delivery.cancel_requested == 0)
    tx.execute(update(Delivery).where(in_flight).values(cancel_requested=1))
    for start in range(0, len(ids), CHUNK):
        tx.execute(
            update(Delivery)
            .where(among(tx, Delivery.id, sorted(ids[start : start + CHUNK])))
            .values(status=DeliveryStatus.CANCELLED, due_at=null(), finished_at=now)
        )
    return len(ids)


def end_lapsed(tx: Tx, endpoint_id: str, now: Micros, new_id: NewId) -> int:
    """Cancel what was lost on its way to a deleted endpoint, which is locked; returns how many rows."""
    lapsed = (Delivery.endpoint_id == endpoint_id) & Delivery.token.is_not(None) & (Delivery.due_at <= now)
    rows = tx.execute(select(Delivery.id, Delivery.attempt_count).where(lapsed).limit(CHUNK)).all()
    if not rows:
        return 0
    lost_attempts.record(tx, rows, now, new_id)
    tx.execute(
        update(Delivery)
        .where(among(tx, Delivery.id, sorted(row.id for row in rows)))
        .values(status=DeliveryStatus.CANCELLED, due_at=null(), token=null(), finished_at=now)
    )
    return len(rows)


def cancel_tests(tx: Tx, endpoint_id: str, now: Micros) -> None:
    """Cancel the tests that a deleted endpoint, which is locked, has not been sent yet."""
    tests = (Delivery.endpoint_id == endpoint_id) & Delivery.solo_at.is_not(None)
    tx.execute(update(Delivery).where(tests, Delivery.token.is_not(None)).values(cancel_requested=1))
    tx.execute(
        update(Delivery)
        .where(tests, Delivery.token.is_(None))
        .values(status=DeliveryStatus.CANCELLED, solo_at=null(), finished_at=now)
    )


def send_test(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros, new_id: NewId) -> str:
    """Owe an endpoint a `relay.test`, also while it is paused or disabled; returns the delivery's id.

    It is sent once, by itself, and changes nothing of the endpoint's health.

    Raises:
        NotFound: the endpoint is not the subscriber's. QuotaExceeded: too many tests of the
        subscriber are under way. No endpoint's pace holds tests back, so
            without this bound those of endpoints that hang could take every slot.
    """
    endpoints.lock_own(tx, subscriber_id, endpoint_id)
    under_way = (Delivery.subscriber_id == subscriber_id) & Delivery.solo_at.is_not(None)
    if tx.execute(select(func.count()).where(under_way)).scalar_one() >= TESTS:
        raise QuotaExceeded(f"{TESTS} tests of yours are under way; look at these first")
    content = {"endpoint_id": endpoint_id, "message": "A test from Relay: this endpoint can be reached."}
    row = new_row(
        new_id("msg"),
        subscriber_id=subscriber_id,
        watch_id=None,
        endpoint_id=endpoint_id,
        event=Event.TEST,
        payload_bytes=0,
        now=now,
    )
    add(tx, [row | {"due_at": None, "solo_at": now, "content": json.dumps(content)}])
    return str(row["id"])


def retry(tx: Tx, subscriber_id: str, delivery_id: str, now: Micros) -> None:
    """Send a delivery again, by hand: the same id, due now, and with a fresh schedule if it had ended.

    Raises NotFound, and Conflict while it is in flight or held.
    """
    mine = (Delivery.id == delivery_id) & (Delivery.subscriber_id == subscriber_id)
    owner = tx.scalar(select(Delivery.endpoint_id).where(mine))
    if owner is None:
        raise NotFound("there is no such delivery")
    endpoints.lock_in_order(tx, [owner])
    row = tx.execute(
        lock(
            select(Delivery.event, Delivery.token, Delivery.due_at, Endpoint.status, Endpoint.deleted_at)
            .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
            .where(mine)
        )
    ).one()
    _check_retriable(row, now)
    values = {"due_at": now, "cancel_requested": 0} if row.due_at is not None else started_anew(now, now)
    tx.execute(update(Delivery).where(mine).values(values))
    endpoints.activate(tx, [owner], now)


def _check_retriable(row: Any, now: Micros) -> None:
    if row.deleted_at is not None:
        raise Conflict("its endpoint was deleted; register a new watch instead")
    if row.event == Event.TEST:
        raise Conflict("a test is sent once; POST to the endpoint's /test sends another")
    if row.token is not None and row.due_at > now:
        raise Conflict("it is in flight right now; look at its attempts when that has ended")
    if row.due_at is not None and row.status != EndpointStatus.ACTIVE:
        raise Conflict(f"it is held because its endpoint is {row.status}; POST to the endpoint's /resume")


def started_anew(due_at: Micros, now: Micros) -> dict[str, Any]:
    """The columns of a delivery that had ended and is to be sent again: a fresh schedule, the same id."""
    return {
        "status": DeliveryStatus.PENDING,
        "due_at": due_at,
        "schedule_started_at": now,
        "retry_count": 0,
        "lost_count": 0,
        "cancel_requested": 0,
        "finished_at": None,
    }
