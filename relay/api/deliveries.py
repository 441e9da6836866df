"""The routes of `/v1` for deliveries: looking at them, and sending them again by hand."""

from flask import Response

from relay.api import context, messages, queries, v1
from relay.api.auth import subscriber
from relay.api.idempotent import Answer, run_idempotent, write_json
from relay.common.states import DeliveryStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.deliveries.sql import bulk_retries, deliveries, delivery_views

routes = v1.blueprint("deliveries")


@routes.get("/deliveries")
def get_deliveries() -> Response:
    """List deliveries."""
    page, filters = queries.read(
        queries.id_of("msg"),
        {
            "status": queries.one_of(tuple(DeliveryStatus)),
            "endpoint_id": queries.id_of("ep"),
            "watch_id": queries.id_of("wat"),
            "since": queries.time,
            "until": queries.time,
        },
    )
    return v1.shown(context.current().store.read(delivery_views.deliveries, subscriber(), page, **filters))


@routes.get("/deliveries/<delivery_id>")
def get_delivery(delivery_id: str) -> Response:
    """Show one delivery with its latest attempts."""
    v1.checked_id("msg", delivery_id)
    return v1.shown(context.current().store.read(delivery_views.delivery, subscriber(), delivery_id))


@routes.get("/deliveries/<delivery_id>/attempts")
def get_attempts(delivery_id: str) -> Response:
    """List all attempts of a delivery."""
    v1.checked_id("msg", delivery_id)
    page, _ = queries.read(queries.number, {})
    return v1.shown(context.current().store.read(delivery_views.attempts, subscriber(), delivery_id, page))


@routes.post("/deliveries/<delivery_id>/retry")
def retry_delivery(delivery_id: str) -> Response:
    """Send one delivery again, by hand."""
    v1.checked_id("msg", delivery_id)
    v1.read(messages.NoBody, may_be_empty=True)

    def retry(tx: Tx, now: Micros) -> Answer:
        deliveries.retry(tx, subscriber(), delivery_id, now)
        # Without attempts: the answer may be kept for an Idempotency-Key.
        return Answer(202, write_json(delivery_views.without_attempts(tx, subscriber(), delivery_id)))

    return run_idempotent(retry)


@routes.post("/deliveries/retry")
def retry_deliveries() -> Response:
    """Order that all deliveries that match are sent again; a dry run only counts them."""
    here = context.current()
    body = v1.read(messages.RetryBody)
    wanted = body.filter(here.clock.now())
    # Counted before the transaction, which on SQLite nobody else could write beside.
    matched = here.store.read(bulk_retries.count, subscriber(), wanted, here.clock.now())

    def order(tx: Tx, now: Micros) -> Answer:
        bulk_retries.check(tx, subscriber(), wanted)
        order_id = None
        if matched and not body.dry_run:
            order_id = bulk_retries.order(tx, subscriber(), wanted, now, here.new_id)
        return Answer(202, write_json({"matched": matched, "order_id": order_id, "dry_run": body.dry_run}))

    return run_idempotent(order)
