"""Bulk retries: sending again all deliveries that match a filter."""

from typing import Annotated, Literal

from flask import Response
from pydantic import Field

from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.idempotent import Answer, run_idempotent
from relay.api.models import RequestModel
from relay.api.responses import write_json
from relay.api.v1.fields import OwnEndpointId, Time
from relay.api.v1.resource import resource
from relay.common.states import DeliveryStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.deliveries.sql import bulk_retries


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


routes = resource("bulk_retries")


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
            order_id = bulk_retries.order(tx, subscriber_id(), matching, now, ctx.new_id)
        return Answer(202, write_json({"matched": matched, "order_id": order_id, "dry_run": body.dry_run}))

    return run_idempotent(order)
