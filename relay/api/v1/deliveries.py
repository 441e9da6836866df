"""Deliveries and their attempts: showing, listing, and sending again, one or all that match."""

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import Field

from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.idempotent import Answer, run_idempotent
from relay.api.models import NoBody, RequestModel
from relay.api.queries import ListQuery
from relay.api.responses import Document, show, show_page, shown_time, write_json
from relay.api.v1.resource import EndpointId, OwnEndpointId, Time, WatchId, id_pattern, resource
from relay.common.states import DeliveryStatus
from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx
from relay.db.pagination import Page
from relay.deliveries.sql import bulk_retries, deliveries, delivery_views

Status = Annotated[DeliveryStatus, Field(strict=False, description=f"one of {', '.join(DeliveryStatus)}")]


class DeliveryList(ListQuery):
    """Which deliveries to list."""

    cursor_pattern = id_pattern("msg")

    status: Status | None = None
    endpoint_id: EndpointId | None = None
    watch_id: WatchId | None = None
    since: Time | None = None
    until: Time | None = None


class AttemptList(ListQuery):
    """Which attempts of a delivery to list: a page by their numbers."""

    cursor_pattern = "[0-9]{1,9}"  # every database's integers hold it

    @property
    def page(self) -> Page:
        """The page that was asked for."""
        return Page(self.limit, None if self.cursor is None else int(self.cursor))


class RetryBody(RequestModel):
    """Which deliveries to send again."""

    status: Annotated[
        Literal["failed", "delivered", "cancelled"], Field(description="one of failed, delivered, cancelled")
    ]
    endpoint_id: OwnEndpointId | None = None
    since: Time | None = None
    until: Time | None = None
    dry_run: Annotated[bool, Field(description="true or false")] = False

    def filter(self, now: Micros) -> bulk_retries.Filter:
        """The deliveries that match; without `until` those made up to now."""
        until = now if self.until is None else self.until
        return bulk_retries.Filter(DeliveryStatus(self.status), self.endpoint_id, self.since or 0, until)


routes = resource("deliveries")


@routes.get("/deliveries")
def get_deliveries() -> Response:
    """List deliveries."""
    query = DeliveryList.read_query()
    rows = ctx.store.read(delivery_views.deliveries, subscriber_id(), query.page, **query.filters)
    return show_page(rows, query.page, document)


@routes.get("/deliveries/<delivery_id>")
def get_delivery(delivery_id: str) -> Response:
    """Show one delivery with its latest attempts."""
    return show(whole_document(ctx.store.read(delivery_views.delivery, subscriber_id(), delivery_id)))


@routes.get("/deliveries/<delivery_id>/attempts")
def get_attempts(delivery_id: str) -> Response:
    """List all attempts of a delivery."""
    page = AttemptList.read_query().page
    rows = ctx.store.read(delivery_views.attempts, subscriber_id(), delivery_id, page)
    return show_page(rows, page, _attempt, goes_by="number")


@routes.post("/deliveries/<delivery_id>/retry")
def retry_delivery(delivery_id: str) -> Response:
    """Send one delivery again, by hand."""
    NoBody.read_body(may_be_empty=True)

    def retry(tx: Tx, now: Micros) -> Answer:
        deliveries.retry(tx, subscriber_id(), delivery_id, now)
        # Without attempts: the answer may be stored for an Idempotency-Key.
        row = delivery_views.without_attempts(tx, subscriber_id(), delivery_id)
        return Answer(202, write_json(document(row)))

    return run_idempotent(retry)


@routes.post("/deliveries/retry")
def retry_deliveries() -> Response:
    """Order that all deliveries that match are sent again; a dry run only counts them."""
    body = RetryBody.read_body()
    matching = body.filter(ctx.clock.now())
    # Counted before the transaction: on SQLite nobody else could write beside it.
    matched = ctx.store.read(bulk_retries.count, subscriber_id(), matching, ctx.clock.now())

    def order(tx: Tx, now: Micros) -> Answer:
        bulk_retries.check(tx, subscriber_id(), matching)
        order_id = None
        if matched and not body.dry_run:
            order_id = bulk_retries.order(tx, subscriber_id(), matching, now, ctx.clock.new_id)
        return Answer(202, write_json({"matched": matched, "order_id": order_id, "dry_run": body.dry_run}))

    return run_idempotent(order)


def document(row: Any) -> Document:
    """A delivery as a list shows it."""
    status = delivery_views.status_of(row)
    waits = status == DeliveryStatus.PENDING and row.token is None  # in flight, due is the end of its lease
    return {
        "id": row.id,
        "watch_id": row.watch_id,
        "endpoint_id": row.endpoint_id,
        "event": row.event,
        "status": status,
        "attempt_count": row.attempt_count,
        "created_at": rfc3339(row.created_at),
        "next_attempt_at": shown_time(row.solo_at or row.due_at) if waits else None,
        "delivered_at": shown_time(row.delivered_at),
        "last_error": row.last_error,
    }


def whole_document(delivery: delivery_views.DeliveryView) -> Document:
    """One delivery alone: with its latest attempts, the first of them first."""
    return document(delivery.row) | {"attempts": [_attempt(row) for row in delivery.latest_attempts]}


def _attempt(row: Any) -> Document:
    return {
        "id": row.id,
        "number": row.number,
        "started_at": rfc3339(row.started_at),
        "duration_ms": None if row.duration is None else row.duration // 1000,
        "status_code": row.status_code,
        "error": row.error,
        "detail": row.detail,
        "response_body": row.response_body,
    }
