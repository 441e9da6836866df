"""What the routes of all resources share: an API key is required, and an id in the path is one."""

import re

from flask import Blueprint, request

from relay.api.auth import require_subscriber
from relay.api.v1.fields import id_pattern
from relay.common.errors import NotFound

PATH_IDS = {"watch_id": "wat", "endpoint_id": "ep", "delivery_id": "msg"}


def resource(name: str) -> Blueprint:
    """The routes of a resource under `/v1`."""
    routes = Blueprint(name, __name__, url_prefix="/v1")
    routes.before_request(_check_request)
    return routes


def _check_request() -> None:
    """Refuse a request without a valid key, and an id that is none, before anything is read."""
    if request.method == "OPTIONS":  # says only which methods a path takes
        return
    require_subscriber()
    for name, text in (request.view_args or {}).items():
        if name in PATH_IDS and not re.fullmatch(id_pattern(PATH_IDS[name]), text):
            raise NotFound("there is nothing with this id")
