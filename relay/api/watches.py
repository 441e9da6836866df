"""The routes of `/v1` for watches and their jobs; `api_endpoints` and `api_deliveries` have the others."""

from collections.abc import Callable

from flask import Response

from relay import telemetry
from relay.api import bodies, context, messages, queries, v1
from relay.api.auth import subscriber
from relay.api.idempotent import Answer, json_response, run_idempotent, write_json
from relay.common.errors import NotFound
from relay.common.states import WatchStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.pagination import Document
from relay.jobs.sql import job_views
from relay.provider.list_ai_job.rules import results
from relay.watches import registration
from relay.watches.registration import WatchRequest
from relay.watches.sql import watch_views

routes = v1.blueprint("watches")


@routes.post("/watches")
def post_watch() -> Response:
    """Register one watch: 201, or 200 with an equal one that waits."""
    request = v1.read(messages.WatchBody).request()

    def register_one(tx: Tx, now: Micros) -> Answer:
        (watch,), new, tell = _register(tx, [request], now)
        if not new:
            return Answer(200, write_json(watch), tell=tell)
        return Answer(201, write_json(watch), f"/v1/watches/{watch['id']}", tell=tell)

    return run_idempotent(register_one)


@routes.post("/watches/batch")
def post_watches() -> Response:
    """Register many watches, all or none."""
    batch = v1.read(messages.BatchBody, bodies.BATCH_LIMIT)
    requests = [watch.request(f"/watches/{index}") for index, watch in enumerate(batch.watches)]

    def register_all(tx: Tx, now: Micros) -> Answer:
        watches, _, tell = _register(tx, requests, now)
        return Answer(201, write_json({"data": watches}), tell=tell)

    return run_idempotent(register_all)


def _register(
    tx: Tx, requests: list[WatchRequest], now: Micros
) -> tuple[list[Document], int, Callable[[], None]]:
    """The watches that stand for these requests, how many are new, and what to say of it once committed."""
    registered = registration.register(tx, subscriber(), requests, now, context.current().new_id)
    watches = watch_views.watches_by_id(tx, subscriber(), [one.watch_id for one in registered])
    new = len({one.watch_id for one in registered if one.created})
    return watches, new, lambda: telemetry.watch_registered(len(requests), new)


@routes.get("/watches")
def get_watches() -> Response:
    """List watches."""
    page, filters = queries.read(
        queries.id_of("wat"),
        {
            "status": queries.one_of(tuple(WatchStatus)),
            "job_id": queries.job_id,
            "endpoint_id": queries.id_of("ep"),
        },
    )
    return v1.shown(context.current().store.read(watch_views.watches, subscriber(), page, **filters))


@routes.get("/watches/<watch_id>")
def get_watch(watch_id: str) -> Response:
    """Show one watch with its job's summary and its deliveries' ids."""
    return v1.shown(
        context.current().store.read(watch_views.watch, subscriber(), v1.checked_id("wat", watch_id))
    )


@routes.delete("/watches/<watch_id>")
def delete_watch(watch_id: str) -> Response:
    """Cancel a watch."""
    v1.checked_id("wat", watch_id)

    def cancel(tx: Tx, now: Micros) -> Answer:
        registration.cancel(tx, subscriber(), watch_id, now)
        return Answer(200, write_json(watch_views.watch(tx, subscriber(), watch_id)))

    return run_idempotent(cancel)


@routes.get("/jobs/<job_id>")
def get_job(job_id: str) -> Response:
    """Show what the provider last said of a job that this subscriber watches or watched."""
    try:
        queries.job_id(job_id)
    except ValueError:
        raise NotFound("you watch no such job") from None
    facts, data = context.current().store.read(job_views.job, subscriber(), job_id)
    facts["result"] = results.view(facts["type"], data)
    # The provider's text is spliced in, as in webhooks: reading and writing it would change
    # numbers.
    return json_response(f'{write_json(facts)[:-1]},"data":{data}}}')
