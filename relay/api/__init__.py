"""The HTTP API. The only Flask of the relay, but for the sandbox.

`v1` has a module for each resource: the bodies and queries that it takes, its routes, its answers.
A request passes `auth` (its API key), then `bodies` (bytes to strict JSON) or `queries`, and
`models` (JSON or a query to a checked model). A change passes `idempotent` (one transaction, with
its Idempotency-Key). Every refusal leaves through `problems`. `provider_events` takes the
provider's notifications, `health` answers monitoring, `totals` writes what was counted, `worker` is
gunicorn's.
"""

from flask import Flask, Response

from relay.api import context, health, problems, provider_events, totals, v1
from relay.api.context import AppContext


def create_app(app_context: AppContext) -> Flask:
    """Build the web application. It does no I/O until a request comes."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would repeat the path, and turn some POSTs into GETs
    context.install(app, app_context)
    problems.install(app)
    for routes in (*v1.RESOURCES, provider_events.routes, health.create_routes(app_context)):
        app.register_blueprint(routes)
    app.after_request(_secure)
    totals.install(app, app_context.store)
    return app


def _secure(response: Response) -> Response:
    """Keep answers out of caches, and browsers from guessing another type than the stated one."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
