"""The routes of `/v1` for endpoints and signing secrets."""

from collections.abc import Callable

from flask import Response

from relay import register
from relay.core.records import Micros
from relay.core.states import EndpointStatus
from relay.store import deliveries, delivery_views, endpoint_edits, endpoint_views, secrets
from relay.store.engine import Tx
from relay.web import messages, parts, queries, v1
from relay.web.auth import subscriber
from relay.web.effects import Answer, perform, write_json

routes = v1.blueprint("endpoints")


@routes.post("/endpoints")
def post_endpoint() -> Response:
    """Make an endpoint with a secret of its own."""
    wanted = v1.read(messages.EndpointBody).wanted()

    def create(tx: Tx, now: Micros) -> Answer:
        here = parts.current()
        endpoint_id, secret = endpoint_edits.create(tx, subscriber(), wanted, here.vault, now, here.mint)
        register.check_endpoint_quota(tx, subscriber())
        shown = endpoint_views.endpoint(tx, subscriber(), endpoint_id, here.vault, now) | {"secret": secret}
        return Answer(201, write_json(shown), f"/v1/endpoints/{endpoint_id}", secret=True)

    return perform(create)


@routes.get("/endpoints")
def get_endpoints() -> Response:
    """List endpoints."""
    here = parts.current()
    page, filters = queries.read(queries.id_of("ep"), {"status": queries.one_of(tuple(EndpointStatus))})
    return v1.shown(
        here.store.read(endpoint_views.endpoints, subscriber(), page, here.vault, here.clock.now(), **filters)
    )


@routes.get("/endpoints/<endpoint_id>")
def get_endpoint(endpoint_id: str) -> Response:
    """Show one endpoint."""
    here = parts.current()
    v1.checked_id("ep", endpoint_id)
    return v1.shown(
        here.store.read(endpoint_views.endpoint, subscriber(), endpoint_id, here.vault, here.clock.now())
    )


@routes.patch("/endpoints/<endpoint_id>")
def patch_endpoint(endpoint_id: str) -> Response:
    """Change an endpoint; it counts from the next attempt."""
    v1.checked_id("ep", endpoint_id)
    wanted = v1.read(messages.EndpointPatch).wanted()

    def change(tx: Tx, now: Micros) -> Answer:
        endpoint_edits.change(tx, subscriber(), endpoint_id, wanted, parts.current().vault, now)
        return _endpoint(tx, endpoint_id, now)

    return perform(change)


@routes.delete("/endpoints/<endpoint_id>")
def delete_endpoint(endpoint_id: str) -> Response:
    """Delete an endpoint and cancel what waits for it."""
    v1.checked_id("ep", endpoint_id)

    def delete(tx: Tx, now: Micros) -> Answer:
        endpoint_edits.delete(tx, subscriber(), endpoint_id, now)
        return Answer(204, "")

    return perform(delete)


@routes.post("/endpoints/<endpoint_id>/pause")
def pause_endpoint(endpoint_id: str) -> Response:
    """Hold what comes for an endpoint; what is in flight finishes."""
    return _turn(endpoint_id, endpoint_edits.pause)


@routes.post("/endpoints/<endpoint_id>/resume")
def resume_endpoint(endpoint_id: str) -> Response:
    """Let go what was held, and enable what was disabled."""
    return _turn(endpoint_id, endpoint_edits.resume)


def _turn(endpoint_id: str, verb: Callable[[Tx, str, str, Micros], None]) -> Response:
    v1.checked_id("ep", endpoint_id)
    v1.read(messages.NoBody, may_be_empty=True)

    def turn(tx: Tx, now: Micros) -> Answer:
        verb(tx, subscriber(), endpoint_id, now)
        return _endpoint(tx, endpoint_id, now)

    return perform(turn)


@routes.post("/endpoints/<endpoint_id>/test")
def send_test(endpoint_id: str) -> Response:
    """Send `relay.test` along the real path, whatever the endpoint's state is."""
    v1.checked_id("ep", endpoint_id)
    v1.read(messages.NoBody, may_be_empty=True)

    def send(tx: Tx, now: Micros) -> Answer:
        delivery_id = deliveries.send_test(tx, subscriber(), endpoint_id, now, parts.current().mint)
        shown = delivery_views.delivery(tx, subscriber(), delivery_id)
        return Answer(202, write_json(shown), f"/v1/deliveries/{delivery_id}")

    return perform(send)


def _endpoint(tx: Tx, endpoint_id: str, now: Micros) -> Answer:
    """An answer with the endpoint as it is now."""
    vault = parts.current().vault
    return Answer(200, write_json(endpoint_views.endpoint(tx, subscriber(), endpoint_id, vault, now)))


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
    here = parts.current()
    return v1.shown({"secret": here.store.read(secrets.current, subscriber(), endpoint_id, here.vault)})


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
        here = parts.current()
        secret = secrets.rotate(tx, subscriber(), endpoint_id, here.vault, now, here.mint, overlap=overlap)
        return Answer(200, write_json({"secret": secret}), secret=True)

    return perform(rotate)
