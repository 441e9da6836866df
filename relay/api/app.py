"""The application factory."""

from flask import Flask, Response

from relay.api import context, deliveries, endpoints, health, problems, totals, watches
from relay.api.context import AppContext
from relay.api.provider_events import hooks


def create_app(here: AppContext) -> Flask:
    """Build the web of these parts. It does no I/O until a request comes."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would repeat the path, and turn some POSTs into GETs
    context.install(app, here)
    totals.install(app, here.store)
    problems.install(app)
    for routes in (watches.routes, endpoints.routes, deliveries.routes, hooks, health.health):
        app.register_blueprint(routes)
    app.after_request(_secure)
    with app.app_context():
        health.install(here)
    return app


def _secure(response: Response) -> Response:
    """Keep answers out of caches, and from being taken for another type than they say."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
