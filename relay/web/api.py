"""The routes of `/v1`: watches, jobs, endpoints, secrets, deliveries.

Each reads its body or query, then runs one transaction: a view, or an effect with the view of what it made.
"""

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint, Response

from relay import register, telemetry
from relay.core.errors import NotFound
from relay.core.records import Micros
from relay.core.states import DeliveryStatus, WatchStatus
from relay.register import WatchRequest
from relay.store import endpoint_edits, secrets, views
from relay.store.engine import Tx
from relay.web import bodies, messages, parts, queries
from relay.web.auth import require_subscriber, subscriber
from relay.web.effects import Answer, json_response, perform, write_json

T = TypeVar("T", bound=messages.Message)

api = Blueprint("api", __name__, url_prefix="/v1")
api.before_request(require_subscriber)


def _read(model: type[T], limit: int = bodies.LIMIT, *, may_be_empty: bool = False) -> T:
    body = bodies.read_json(limit, may_be_empty=may_be_empty)
    return messages.read(model, body, parts.current().settings)


def _checked(prefix: str, text: str) -> str:
    """An id from a path; one that is spelled wrongly is not found, without asking the database."""
    if not views.is_id(prefix, text):
        raise NotFound("there is nothing with this id")
    return text


# Watches and their jobs.


@api.post("/watches")
def post_watch() -> Response:
    """Register one watch: 201, or 200 with an equal one that waits."""
    request = _read(messages.WatchBody).request()

    def register_one(tx: Tx, now: Micros) -> Answer:
        (watch,), new, tell = _register(tx, [request], now)
        if not new:
            return Answer(200, write_json(watch), tell=tell)
        return Answer(201, write_json(watch), f"/v1/watches/{watch['id']}", tell=tell)

    return perform(register_one)


@api.post("/watches/batch")
def post_watches() -> Response:
    """Register many watches, all or none."""
    batch = _read(messages.BatchBody, bodies.BATCH_LIMIT)
    requests = [watch.request(f"/watches/{index}") for index, watch in enumerate(batch.watches)]

    def register_all(tx: Tx, now: Micros) -> Answer:
        watches, _, tell = _register(tx, requests, now)
        return Answer(201, write_json({"data": watches}), tell=tell)

    return perform(register_all)


def _register(
    tx: Tx, requests: list[WatchRequest], now: Micros
) -> tuple[list[views.Document], int, Callable[[], None]]:
    """The watches that stand for these requests, how many are new, and what to say of it once committed."""
    registered = register.register(tx, subscriber(), requests, now, parts.current().mint)
    watches = views.watches_by_id(tx, subscriber(), [one.watch_id for one in registered])
    new = len({one.watch_id for one in registered if one.created})
    return watches, new, lambda: telemetry.watch_registered(len(requests), new)


@api.get("/watches")
def get_watches() -> Response:
    """List watches."""
    page, filters = queries.read(
        "wat",
        {
            "status": queries.one_of(tuple(WatchStatus)),
            "job_id": queries.job_id,
            "endpoint_id": queries.id_of("ep"),
        },
    )
    return _shown(parts.current().store.read(views.watches, subscriber(), page, **filters))


@api.get("/watches/<watch_id>")
def get_watch(watch_id: str) -> Response:
    """Show one watch with its job's summary and its deliveries' ids."""
    return _shown(parts.current().store.read(views.watch, subscriber(), _checked("wat", watch_id)))


@api.delete("/watches/<watch_id>")
def delete_watch(watch_id: str) -> Response:
    """Cancel a watch."""
    _checked("wat", watch_id)

    def cancel(tx: Tx, now: Micros) -> Answer:
        register.cancel(tx, subscriber(), watch_id, now)
        return Answer(200, write_json(views.watch(tx, subscriber(), watch_id)))

    return perform(cancel)


@api.get("/jobs/<job_id>")
def get_job(job_id: str) -> Response:
    """Show what the provider last said of a job that this subscriber watches or watched."""
    try:
        queries.job_id(job_id)
    except ValueError:
        raise NotFound("you watch no such job") from None
    facts, data = parts.current().store.read(views.job, subscriber(), job_id)
    # The provider's text is spliced in, as in webhooks: reading and writing it would change numbers.
    return json_response(f'{write_json(facts)[:-1]},"data":{data}}}')


# Endpoints.


@api.post("/endpoints")
def post_endpoint() -> Response:
    """Make an endpoint with a secret of its own."""
    wanted = _read(messages.EndpointBody).wanted()

    def create(tx: Tx, now: Micros) -> Answer:
        here = parts.current()
        endpoint_id, secret = endpoint_edits.create(tx, subscriber(), wanted, here.vault, now, here.mint)
        register.check_endpoint_quota(tx, subscriber())
        shown = views.endpoint(tx, subscriber(), endpoint_id, here.vault) | {"secret": secret}
        return Answer(201, write_json(shown), f"/v1/endpoints/{endpoint_id}", secret=True)

    return perform(create)


@api.get("/endpoints")
def get_endpoints() -> Response:
    """List endpoints."""
    here = parts.current()
    page, _ = queries.read("ep", {})
    return _shown(here.store.read(views.endpoints, subscriber(), page, here.vault))


@api.get("/endpoints/<endpoint_id>")
def get_endpoint(endpoint_id: str) -> Response:
    """Show one endpoint."""
    here = parts.current()
    _checked("ep", endpoint_id)
    return _shown(here.store.read(views.endpoint, subscriber(), endpoint_id, here.vault))


@api.patch("/endpoints/<endpoint_id>")
def patch_endpoint(endpoint_id: str) -> Response:
    """Change an endpoint; it counts from the next attempt."""
    _checked("ep", endpoint_id)
    wanted = _read(messages.EndpointPatch).wanted()

    def change(tx: Tx, now: Micros) -> Answer:
        vault = parts.current().vault
        endpoint_edits.change(tx, subscriber(), endpoint_id, wanted, vault, now)
        return Answer(200, write_json(views.endpoint(tx, subscriber(), endpoint_id, vault)))

    return perform(change)


@api.delete("/endpoints/<endpoint_id>")
def delete_endpoint(endpoint_id: str) -> Response:
    """Delete an endpoint and cancel what waits for it."""
    _checked("ep", endpoint_id)

    def delete(tx: Tx, now: Micros) -> Answer:
        endpoint_edits.delete(tx, subscriber(), endpoint_id, now)
        return Answer(204, "")

    return perform(delete)


# Secrets.


@api.get("/secret")
def get_secret() -> Response:
    """Show the subscriber's signing secret."""
    return _show_secret(None)


@api.get("/endpoints/<endpoint_id>/secret")
def get_endpoint_secret(endpoint_id: str) -> Response:
    """Show the secret that signs for an endpoint."""
    return _show_secret(_checked("ep", endpoint_id))


def _show_secret(endpoint_id: str | None) -> Response:
    here = parts.current()
    return _shown({"secret": here.store.read(secrets.current, subscriber(), endpoint_id, here.vault)})


@api.post("/secret/rotate")
def rotate_secret() -> Response:
    """Make a new secret for the subscriber; the old one signs too for a while."""
    return _rotate(None)


@api.post("/endpoints/<endpoint_id>/secret/rotate")
def rotate_endpoint_secret(endpoint_id: str) -> Response:
    """Make a new secret for an endpoint; the old one signs too for a while."""
    return _rotate(_checked("ep", endpoint_id))


def _rotate(endpoint_id: str | None) -> Response:
    overlap = _read(messages.RotateBody, may_be_empty=True).overlap_seconds

    def rotate(tx: Tx, now: Micros) -> Answer:
        here = parts.current()
        secret = secrets.rotate(tx, subscriber(), endpoint_id, here.vault, now, here.mint, overlap=overlap)
        return Answer(200, write_json({"secret": secret}), secret=True)

    return perform(rotate)


# Deliveries.


@api.get("/deliveries")
def get_deliveries() -> Response:
    """List deliveries."""
    page, filters = queries.read(
        "msg",
        {
            "status": queries.one_of(tuple(DeliveryStatus)),
            "endpoint_id": queries.id_of("ep"),
            "watch_id": queries.id_of("wat"),
            "since": queries.time,
            "until": queries.time,
        },
    )
    return _shown(parts.current().store.read(views.deliveries, subscriber(), page, **filters))


@api.get("/deliveries/<delivery_id>")
def get_delivery(delivery_id: str) -> Response:
    """Show one delivery with its attempts."""
    return _shown(parts.current().store.read(views.delivery, subscriber(), _checked("msg", delivery_id)))


def _shown(document: views.Document) -> Response:
    return json_response(write_json(document))
