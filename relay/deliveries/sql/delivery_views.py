"""Deliveries and their attempts as their subscribers read them.

A delivery's status is partly derived, so that pausing, resuming and deleting an endpoint touch one
row. What is pending reads held at an endpoint that is paused or disabled. At one that was deleted
it reads cancelled, unless it is in flight and may yet be delivered. A test is never held.
`status_of` derives the status of a row, `_status_is` selects by it.

A delivery may have hundreds of attempts, as of a circuit that is probed for days, each with 16 KiB
of answer, which as escapes in JSON are five times as long. So no document holds all of them.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select

from relay.common.errors import NotFound
from relay.common.ids import first_id
from relay.common.states import DeliveryStatus, EndpointStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.pagination import Page, page_rows
from relay.db.tables import Attempt, Delivery, Endpoint, Listing

LATEST_ATTEMPTS = 20  # of a delivery's own document: twice what the default schedule makes

_DELIVERY = select(
    Delivery.__table__,
    Endpoint.status.label("endpoint_status"),
    Endpoint.deleted_at.label("endpoint_deleted_at"),
).join(Endpoint, Endpoint.id == Delivery.endpoint_id)


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """One delivery with its latest attempts, the first of them first."""

    row: Any
    latest_attempts: list[Any]


def delivery(tx: Tx, subscriber_id: str, delivery_id: str) -> DeliveryView:
    """One delivery. Raises NotFound."""
    row = without_attempts(tx, subscriber_id, delivery_id)
    latest = page_rows(tx, _attempts_of(delivery_id), Attempt.number, Page(LATEST_ATTEMPTS))
    return DeliveryView(row, latest[:LATEST_ATTEMPTS][::-1])


def without_attempts(tx: Tx, subscriber_id: str, delivery_id: str) -> Any:
    """One delivery as a list shows it. Raises NotFound."""
    row = tx.execute(
        _DELIVERY.where(Delivery.id == delivery_id, Delivery.subscriber_id == subscriber_id)
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such delivery")
    return row


def attempts(tx: Tx, subscriber_id: str, delivery_id: str, page: Page) -> list[Any]:
    """A page of a delivery's attempts, by their numbers. Raises NotFound."""
    without_attempts(tx, subscriber_id, delivery_id)
    return page_rows(tx, _attempts_of(delivery_id), Attempt.number, page)


def _attempts_of(delivery_id: str) -> Select[*tuple[Any, ...]]:
    return select(Attempt.__table__).where(Attempt.delivery_id == delivery_id)


def deliveries(
    tx: Tx,
    subscriber_id: str,
    page: Page,
    *,
    status: str | None = None,
    endpoint_id: str | None = None,
    watch_id: str | None = None,
    since: Micros | None = None,
    until: Micros | None = None,
) -> list[Any]:
    """A page of deliveries created from `since` on and before `until`."""
    statement = _DELIVERY.join(Listing, Listing.delivery_id == Delivery.id)
    statement = statement.where(Listing.subscriber_id == subscriber_id)
    if status is not None:
        statement = statement.where(_status_is(status))
    if endpoint_id is not None:
        statement = statement.where(Listing.endpoint_id == endpoint_id)
    if watch_id is not None:
        statement = statement.where(Listing.watch_id == watch_id)
    if since is not None:
        statement = statement.where(Listing.delivery_id >= first_id("msg", since))
    if until is not None:
        statement = statement.where(Listing.delivery_id < first_id("msg", until))
    return page_rows(tx, statement, Listing.delivery_id, page)


def _status_is(status: str) -> Any:
    """The condition that a row's status, derived or stored, is this one."""
    waits, sends = Delivery.due_at.is_not(None), Endpoint.status == EndpointStatus.ACTIVE
    is_gone, is_in_flight = Endpoint.deleted_at.is_not(None), Delivery.token.is_not(None)
    match status:
        case DeliveryStatus.HELD:
            return and_(waits, ~sends, ~is_gone)
        case DeliveryStatus.PENDING:
            return or_(Delivery.solo_at.is_not(None), and_(waits, or_(sends, and_(is_gone, is_in_flight))))
        case DeliveryStatus.CANCELLED:
            return or_(Delivery.status == status, and_(waits, is_gone, ~is_in_flight))
        case _:
            return Delivery.status == status


def status_of(row: Any) -> str:
    """The status that a row reads."""
    if row.due_at is None or row.endpoint_status == EndpointStatus.ACTIVE:
        return str(row.status)
    if row.endpoint_deleted_at is None:
        return DeliveryStatus.HELD
    return DeliveryStatus.CANCELLED if row.token is None else DeliveryStatus.PENDING
