"""The application factory."""

from flask import Flask, Response

from relay.web import health, parts, problems
from relay.web.api import api
from relay.web.hooks import hooks
from relay.web.parts import Parts


def create_app(here: Parts) -> Flask:
    """Build the web of these parts. It does no I/O until a request comes."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would repeat the path, and turn some POSTs into GETs
    parts.install(app, here)
    problems.install(app)
    app.register_blueprint(api)
    app.register_blueprint(hooks)
    app.register_blueprint(health.health)
    app.after_request(_secure)
    with app.app_context():
        health.install(here)
    return app


def _secure(response: Response) -> Response:
    """Keep answers out of caches, and from being taken for another type than they say."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
