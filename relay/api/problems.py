"""Problem documents (RFC 9457): refusals and unexpected errors, in words that echo no input.

A pointer names the wrong member of the body; for a wrong query parameter it reads as if the query
were an object.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from relay import telemetry
from relay.common.errors import (
    Conflict,
    Fault,
    Invalid,
    NotFound,
    QuotaExceeded,
    Refusal,
    RelayError,
    StoreUnavailable,
)
from relay.telemetry.events import RequestFailed

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:relay:problem:"
MOST_FAULTS = 100  # of one answer; a caller with more mends these first
REFUSALS: dict[type[Refusal], tuple[int, str, dict[str, str]]] = {
    NotFound: (404, "not-found", {}),
    Conflict: (409, "conflict", {}),
    QuotaExceeded: (429, "quota", {"Retry-After": "60"}),  # watches take minutes to end
}
SENTENCES = {
    404: "There is nothing at this path; the API begins at /v1.",
    405: "This path does not take this method; the Allow header names those it takes.",
    413: "The body is too large.",
}


class Problem(RelayError):
    """A request that HTTP itself has a status for; `kind` ends the problem's type."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})


def install(app: Flask) -> None:
    """Answer whatever is raised with a problem document."""
    app.register_error_handler(Problem, _of_problem)
    app.register_error_handler(Refusal, _of_refusal)
    app.register_error_handler(StoreUnavailable, _of_database)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _of_unexpected_error)


def _of_problem(problem: Problem) -> Response:
    return respond(problem.status, problem.kind, str(problem), headers=problem.headers)


def _of_refusal(refusal: Refusal) -> Response:
    if isinstance(refusal, Invalid):
        detail = "Some members are not as they must be; see errors."
        return respond(422, "invalid", detail, faults=refusal.faults[:MOST_FAULTS])
    for error_class, (status, kind, headers) in REFUSALS.items():
        if isinstance(refusal, error_class):
            return respond(status, kind, _sentence(refusal), headers=headers)
    return _of_unexpected_error(refusal)


def _of_database(error: StoreUnavailable) -> Response:
    return respond(503, "database", _sentence(error), headers={"Retry-After": str(error.retry_after)})


def _of_http(error: HTTPException) -> Response:
    """Answer the refusals of Flask and Werkzeug; their own descriptions may quote the request."""
    status = error.code or 500
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
    return respond(status, kind, SENTENCES.get(status, "The request can't be read."), headers=headers)


def _of_unexpected_error(error: Exception) -> Response:
    telemetry.emit(RequestFailed(error))
    return respond(500, "internal", "The relay failed unexpectedly; nothing was changed. Try again later.")


def respond(
    status: int,
    kind: str,
    detail: str,
    *,
    faults: list[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write a problem document."""
    document: dict[str, Any] = {
        "type": TYPE + kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if faults is not None:
        document["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    return Response(json.dumps(document), status, headers, content_type=MEDIA_TYPE)


def _sentence(error: RelayError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
