"""Deliveries in SQL: enqueued, cancelled, and sent again by hand."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update

from relay.common.errors import Conflict, NotFound, QuotaExceeded
from relay.common.events import TEST
from relay.common.ids import NewId
from relay.common.states import DeliveryStatus, EndpointStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among, insert_rows, lock
from relay.db.tables import Delivery, Endpoint, Listing, Watch
from relay.deliveries.sql import attempt_records, delivery_moves
from relay.endpoints.sql import endpoint_moves, endpoints

CANCEL_BATCH = 5_000  # deliveries of a deleted endpoint that one transaction cancels
TESTS = 10  # of one subscriber that may be under way at once
CHUNK = 500  # rows of one statement


def enqueue(tx: Tx, rows: Sequence[Mapping[str, Any]], now: Micros) -> None:
    """Insert new deliveries, due now, and activate their endpoints, which are locked already."""
    insert(tx, rows)
    endpoint_moves.activate(tx, (row["endpoint_id"] for row in rows), now)


def insert(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert deliveries as they are, and list them; activates no endpoint."""
    insert_rows(tx, Delivery, rows)
    listed = ("subscriber_id", "endpoint_id", "watch_id")
    listings = [{"delivery_id": row["id"]} | {name: row[name] for name in listed} for row in rows]
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
        "payload_bytes": payload_bytes,
        "created_at": now,
        **delivery_moves.due(now),
    }


def cancel_of_watch(tx: Tx, watch_id: str, now: Micros) -> None:
    """Cancel a watch's pending delivery; what is in flight finishes and is then not sent again."""
    of_watch = select(Listing.delivery_id).where(Listing.watch_id == watch_id)
    owners = list(tx.scalars(select(Watch.endpoint_id).where(Watch.id == watch_id)))
    endpoints.lock_in_order(tx, owners)  # first: the delivery may be sent again by hand this moment
    pending = Delivery.id.in_(of_watch) & (Delivery.status == DeliveryStatus.PENDING)
    delivery_moves.cancel(tx, pending, now)
    endpoint_moves.recompute(tx, owners, now)


def cancel_of_endpoint(tx: Tx, endpoint_id: str, now: Micros) -> int:
    """Cancel a batch of a deleted, locked endpoint's deliveries; returns how many rows ended.

    A row in flight is marked, and cancelled when its result is recorded or, once its lease has run
    out, by `end_lapsed`.
    """
    pending = (Delivery.endpoint_id == endpoint_id) & Delivery.due_at.is_not(None)
    free = pending & Delivery.token.is_(None)
    ids = list(tx.scalars(select(Delivery.id).where(free).order_by(Delivery.due_at).limit(CANCEL_BATCH)))
    delivery_moves.request_cancel(tx, pending)
    for start in range(0, len(ids), CHUNK):
        _cancel(tx, ids[start : start + CHUNK], now)
    return len(ids)


def end_lapsed(tx: Tx, endpoint_id: str, now: Micros, new_id: NewId) -> int:
    """Cancel what was lost on its way to a deleted, locked endpoint; returns how many rows."""
    lapsed = (Delivery.endpoint_id == endpoint_id) & Delivery.token.is_not(None) & (Delivery.due_at <= now)
    rows = tx.execute(select(Delivery.id, Delivery.attempt_count).where(lapsed).limit(CHUNK)).all()
    if rows:
        attempt_records.insert_lost(tx, rows, now, new_id)
        _cancel(tx, [row.id for row in rows], now)
    return len(rows)


def _cancel(tx: Tx, ids: Sequence[str], now: Micros) -> None:
    cancelled = delivery_moves.ended(DeliveryStatus.CANCELLED, now)
    tx.execute(update(Delivery).where(among(tx, Delivery.id, sorted(ids))).values(cancelled))


def cancel_tests(tx: Tx, endpoint_id: str, now: Micros) -> None:
    """Cancel the tests that a deleted endpoint, which is locked, has not been sent yet."""
    delivery_moves.cancel(tx, (Delivery.endpoint_id == endpoint_id) & Delivery.solo_at.is_not(None), now)


def send_test(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros, new_id: NewId) -> str:
    """Enqueue a `relay.test`, whatever the endpoint's status is; returns the delivery's id.

    It is sent once, by itself, and changes nothing of the endpoint's health.

    Raises:
        NotFound: the endpoint is not the subscriber's.
        QuotaExceeded: too many tests of the subscriber are under way. No concurrency limit holds
            tests back, so without this bound those of endpoints that hang could take every slot.
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
        event=TEST.name,
        payload_bytes=0,
        now=now,
    )
    insert(tx, [row | delivery_moves.due_test(now) | {"content": json.dumps(content)}])
    return str(row["id"])


def retry(tx: Tx, subscriber_id: str, delivery_id: str, now: Micros) -> None:
    """Send a delivery again, by hand: the same id, and a fresh schedule if it had ended.

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
    is_pending = row.due_at is not None
    columns = delivery_moves.due_now(now) if is_pending else delivery_moves.sent_anew(now, now)
    tx.execute(update(Delivery).where(mine).values(columns))
    endpoint_moves.activate(tx, [owner], now)


def _check_retriable(row: Any, now: Micros) -> None:
    if row.deleted_at is not None:
        raise Conflict("its endpoint was deleted; register a new watch instead")
    if row.event == TEST.name:
        raise Conflict("a test is sent once; POST to the endpoint's /test sends another")
    if row.token is not None and row.due_at > now:
        raise Conflict("it is in flight right now; look at its attempts when that has ended")
    if row.due_at is not None and row.status != EndpointStatus.ACTIVE:
        raise Conflict(f"it is held because its endpoint is {row.status}; POST to the endpoint's /resume")
