"""The routes of `/v1` for endpoints and signing secrets."""

from collections.abc import Callable

from flask import Response

from relay.api import context, messages, queries, v1
from relay.api.auth import subscriber
from relay.api.idempotent import Answer, run_idempotent, write_json
from relay.common.states import EndpointStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.deliveries.sql import deliveries, delivery_views
from relay.endpoints.sql import endpoint_changes, endpoint_secrets, endpoint_views
from relay.watches import registration
from relay.watches.sql import endpoint_deletion

routes = v1.blueprint("endpoints")


@routes.post("/endpoints")
def post_endpoint() -> Response:
    """Make an endpoint with a secret of its own."""
    wanted = v1.read(messages.EndpointBody).wanted()

    def create(tx: Tx, now: Micros) -> Answer:
        here = context.current()
        endpoint_id, secret = endpoint_changes.create(
            tx, subscriber(), wanted, here.encryption, now, here.new_id
        )
        registration.check_endpoint_quota(tx, subscriber())
        shown = endpoint_views.endpoint(tx, subscriber(), endpoint_id, here.encryption, now) | {
            "secret": secret
        }
        return Answer(201, write_json(shown), f"/v1/endpoints/{endpoint_id}", secret=True)

    return run_idempotent(create)


@routes.get("/endpoints")
def get_endpoints() -> Response:
    """List endpoints."""
    here = context.current()
    page, filters = queries.read(queries.id_of("ep"), {"status": queries.one_of(tuple(EndpointStatus))})
    return v1.shown(
        here.store.read(
            endpoint_views.endpoints, subscriber(), page, here.encryption, here.clock.now(), **filters
        )
    )


@routes.get("/endpoints/<endpoint_id>")
def get_endpoint(endpoint_id: str) -> Response:
    """Show one endpoint."""
    here = context.current()
    v1.checked_id("ep", endpoint_id)
    return v1.shown(
        here.store.read(endpoint_views.endpoint, subscriber(), endpoint_id, here.encryption, here.clock.now())
    )


@routes.patch("/endpoints/<endpoint_id>")
def patch_endpoint(endpoint_id: str) -> Response:
    """Change an endpoint; it counts from the next attempt."""
    v1.checked_id("ep", endpoint_id)
    wanted = v1.read(messages.EndpointPatch).wanted()

    def change(tx: Tx, now: Micros) -> Answer:
        endpoint_changes.change(tx, subscriber(), endpoint_id, wanted, context.current().encryption, now)
        return _endpoint(tx, endpoint_id, now)

    return run_idempotent(change)


@routes.delete("/endpoints/<endpoint_id>")
def delete_endpoint(endpoint_id: str) -> Response:
    """Delete an endpoint and cancel what waits for it."""
    v1.checked_id("ep", endpoint_id)

    def delete(tx: Tx, now: Micros) -> Answer:
        endpoint_deletion.delete(tx, subscriber(), endpoint_id, now)
        return Answer(204, "")

    return run_idempotent(delete)


@routes.post("/endpoints/<endpoint_id>/pause")
def pause_endpoint(endpoint_id: str) -> Response:
    """Hold what comes for an endpoint; what is in flight finishes."""
    return _turn(endpoint_id, endpoint_changes.pause)


@routes.post("/endpoints/<endpoint_id>/resume")
def resume_endpoint(endpoint_id: str) -> Response:
    """Let go what was held, and enable what was disabled."""
    return _turn(endpoint_id, endpoint_changes.resume)


def _turn(endpoint_id: str, verb: Callable[[Tx, str, str, Micros], None]) -> Response:
    v1.checked_id("ep", endpoint_id)
    v1.read(messages.NoBody, may_be_empty=True)

    def turn(tx: Tx, now: Micros) -> Answer:
        verb(tx, subscriber(), endpoint_id, now)
        return _endpoint(tx, endpoint_id, now)

    return run_idempotent(turn)


@routes.post("/endpoints/<endpoint_id>/test")
def send_test(endpoint_id: str) -> Response:
    """Send `relay.test` along the real path, whatever the endpoint's state is."""
    v1.checked_id("ep", endpoint_id)
    v1.read(messages.NoBody, may_be_empty=True)

    def send(tx: Tx, now: Micros) -> Answer:
        delivery_id = deliveries.send_test(tx, subscriber(), endpoint_id, now, context.current().new_id)
        shown = delivery_views.delivery(tx, subscriber(), delivery_id)
        return Answer(202, write_json(shown), f"/v1/deliveries/{delivery_id}")

    return run_idempotent(send)


def _endpoint(tx: Tx, endpoint_id: str, now: Micros) -> Answer:
    """An answer with the endpoint as it is now."""
    encryption = context.current().encryption
    return Answer(200, write_json(endpoint_views.endpoint(tx, subscriber(), endpoint_id, encryption, now)))


# Secrets.


@routes.get("/secret")
def get_secret() -> Response:
    """Show the subscriber's signing secret."""
    return _show_secret(None)


@routes.get("/endpoints/<endpoint_id>/secret")
def get_endpoint_secret(endpoint_id: str) -> Response:
    """Show the secret that signs for an endpoint."""
    return _show_secret(v1.checked_id("ep", endpoint_id))


def _show_secret(endpoint_id: str | None) -> Response:
    here = context.current()
    return v1.shown(
        {"secret": here.store.read(endpoint_secrets.current, subscriber(), endpoint_id, here.encryption)}
    )


@routes.post("/secret/rotate")
def rotate_secret() -> Response:
    """Make a new secret for the subscriber; the old one signs too for a while."""
    return _rotate(None)


@routes.post("/endpoints/<endpoint_id>/secret/rotate")
def rotate_endpoint_secret(endpoint_id: str) -> Response:
    """Make a new secret for an endpoint; the old one signs too for a while."""
    return _rotate(v1.checked_id("ep", endpoint_id))


def _rotate(endpoint_id: str | None) -> Response:
    overlap = v1.read(messages.RotateBody, may_be_empty=True).overlap_seconds

    def rotate(tx: Tx, now: Micros) -> Answer:
        here = context.current()
        secret = endpoint_secrets.rotate(
            tx, subscriber(), endpoint_id, here.encryption, now, here.new_id, overlap=overlap
        )
        return Answer(200, write_json({"secret": secret}), secret=True)

    return run_idempotent(rotate)
