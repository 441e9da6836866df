"""What the routes of `/v1` share: who may call, how a body and an id are read, how a document is answered.

A route reads its body or query, then runs one transaction: a view, or an effect with the view of
what it made.
"""

from typing import TypeVar

from flask import Blueprint, Response

from relay.api import bodies, context, messages
from relay.api.auth import require_subscriber
from relay.api.idempotent import json_response, write_json
from relay.common.errors import NotFound
from relay.db import pagination
from relay.db.pagination import Document

T = TypeVar("T", bound=messages.Message)


def blueprint(name: str) -> Blueprint:
    """Routes under `/v1` that need an API key."""
    made = Blueprint(name, __name__, url_prefix="/v1")
    made.before_request(require_subscriber)
    return made


def read(model: type[T], limit: int = bodies.LIMIT, *, may_be_empty: bool = False) -> T:
    """Read the request's body into its message."""
    body = bodies.read_json(limit, may_be_empty=may_be_empty)
    return messages.read(model, body, context.current().settings)


def checked_id(prefix: str, text: str) -> str:
    """An id from a path; one that is spelled wrongly is not found, without asking the database."""
    if not pagination.is_id(prefix, text):
        raise NotFound("there is nothing with this id")
    return text


def shown(document: Document) -> Response:
    """Answer 200 with this document."""
    return json_response(write_json(document))
