"""The application factory."""

from flask import Flask, Response

from relay.web import api, api_deliveries, api_endpoints, health, parts, problems, totals
from relay.web.hooks import hooks
from relay.web.parts import Parts


def create_app(here: Parts) -> Flask:
    """Build the web of these parts. It does no I/O until a request comes."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would repeat the path, and turn some POSTs into GETs
    parts.install(app, here)
    totals.install(app, here.store)
    problems.install(app)
    for routes in (api.routes, api_endpoints.routes, api_deliveries.routes, hooks, health.health):
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
