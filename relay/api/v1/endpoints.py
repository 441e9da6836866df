"""Endpoints: creating, showing, listing, changing, deleting, pausing, resuming and testing."""

import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from flask import Response
from pydantic import Field, PlainValidator, ValidationInfo

from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.idempotent import Answer, run_idempotent
from relay.api.models import NoBody, RequestModel, WrongMember
from relay.api.queries import ListQuery
from relay.api.responses import Document, show, show_page, shown_time, write_json
from relay.api.v1 import deliveries as deliveries_resource
from relay.api.v1.resource import check_callback_url, id_pattern, resource
from relay.common.errors import SettingsError
from relay.common.states import EndpointStatus
from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx
from relay.deliveries.sql import deliveries, delivery_views
from relay.endpoints.sql import endpoint_changes, endpoint_views
from relay.settings import Settings
from relay.watches import registration
from relay.watches.sql import endpoint_deletion

MOST_HEADERS = 20
HEADER_BYTES = 4096  # of all names and values
MASK = "•••"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[!-~\xa1-\xff](?:[ -~\xa0-\xff]*[!-~\xa1-\xff])?")  # printable latin-1
_RESERVED = re.compile(
    r"host|content-.*|transfer-encoding|connection|user-agent|accept-encoding|expect|te|trailer|upgrade"
    r"|keep-alive|proxy-.*|webhook-.*"
)


def _check_url(value: Any, info: ValidationInfo[Settings]) -> str:
    checked = check_callback_url(value, info)
    if checked.query is not None:
        raise WrongMember("leave the query out: it belongs to each watch's callback_url")
    return checked.endpoint_url


def _check_headers(value: Any) -> dict[str, str]:
    """Check custom headers; the sentences name no header, as names too are the caller's."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise WrongMember("must be an object of header names and values, all of them texts")
    names = [name.lower() for name in value]
    if len(names) > MOST_HEADERS or len(set(names)) < len(names):
        raise WrongMember(f"must hold at most {MOST_HEADERS} headers, each name once")
    if not all(map(_TOKEN.fullmatch, value)):
        raise WrongMember("must have names of letters, digits and !#$%&'*+-.^_`|~ only")
    if any(map(_RESERVED.fullmatch, names)):
        raise WrongMember(
            "must leave out what the relay sets itself: Host, Content-*, Transfer-Encoding, Connection,"
            " User-Agent, Accept-Encoding, Expect, TE, Trailer, Upgrade, Keep-Alive, Proxy-* and Webhook-*"
        )
    if not all(map(_VALUE.fullmatch, value.values())):
        raise WrongMember("must have values of printable latin-1 characters, without spaces around them")
    if sum(len(name) + len(text) for name, text in value.items()) > HEADER_BYTES:
        raise WrongMember(f"must be at most {HEADER_BYTES:,} bytes in all")
    return value


Url = Annotated[str, PlainValidator(_check_url), Field(description="an absolute URL without a query")]
Description = Annotated[
    str,
    Field(
        max_length=500,
        pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\z",
        description="a text of at most 500 characters on one line",
    ),
]
Headers = Annotated[
    dict[str, str],
    PlainValidator(_check_headers),
    Field(description="an object of header names and values"),
]
MaxInFlight = Annotated[int, Field(ge=1, le=1000, description="a whole number from 1 to 1000")]
RatePerSecond = Annotated[
    float, Field(ge=0.01, le=10_000, allow_inf_nan=False, description="a number from 0.01 to 10000, or null")
]
Notices = Annotated[
    bool, Field(description="true or false: whether to notify it when another endpoint of yours is disabled")
]
Status = Annotated[EndpointStatus, Field(strict=False, description=f"one of {', '.join(EndpointStatus)}")]


class EndpointBody(RequestModel):
    """A new endpoint."""

    url: Url
    description: Description | None = None
    headers: Headers | None = None
    max_in_flight: MaxInFlight | None = None
    rate_per_second: RatePerSecond | None = None
    notices: Notices | None = None


class EndpointPatch(RequestModel):
    """Changes of an endpoint; null removes description, headers or rate. Defaults mean nothing."""

    url: Url = ""
    description: Description | None = None
    headers: Headers | None = None
    max_in_flight: MaxInFlight = 1
    rate_per_second: RatePerSecond | None = None
    notices: Notices = False


class EndpointList(ListQuery):
    """Which endpoints to list."""

    cursor_pattern = id_pattern("ep")

    status: Status | None = None


routes = resource("endpoints")


@routes.post("/endpoints")
def post_endpoint() -> Response:
    """Make an endpoint with a secret of its own."""
    settings = EndpointBody.read_body().model_dump(exclude_none=True)

    def create(tx: Tx, now: Micros) -> Answer:
        endpoint_id, secret = endpoint_changes.create(
            tx, subscriber_id(), settings, ctx.encryption, now, ctx.clock.new_id
        )
        registration.check_endpoint_quota(tx, subscriber_id())
        document = _read_document(tx, endpoint_id, now) | {"secret": secret}
        return Answer(201, write_json(document), f"/v1/endpoints/{endpoint_id}", secret=True)

    return run_idempotent(create)


@routes.get("/endpoints")
def get_endpoints() -> Response:
    """List endpoints."""
    query = EndpointList.read_query()
    rows = ctx.store.read(
        endpoint_views.endpoints, subscriber_id(), query.page, ctx.clock.now(), **query.filters
    )
    return show_page(rows, query.page, _document)


@routes.get("/endpoints/<endpoint_id>")
def get_endpoint(endpoint_id: str) -> Response:
    """Show one endpoint."""
    return show(ctx.store.read(_read_document, endpoint_id, ctx.clock.now()))


@routes.patch("/endpoints/<endpoint_id>")
def patch_endpoint(endpoint_id: str) -> Response:
    """Change an endpoint; it counts from the next attempt."""
    changes = EndpointPatch.read_body().model_dump(exclude_unset=True)

    def change(tx: Tx, now: Micros) -> Answer:
        endpoint_changes.change(tx, subscriber_id(), endpoint_id, changes, ctx.encryption, now)
        return Answer(200, write_json(_read_document(tx, endpoint_id, now)))

    return run_idempotent(change)


@routes.delete("/endpoints/<endpoint_id>")
def delete_endpoint(endpoint_id: str) -> Response:
    """Delete an endpoint and cancel what waits for it."""

    def delete(tx: Tx, now: Micros) -> Answer:
        endpoint_deletion.delete(tx, subscriber_id(), endpoint_id, now)
        return Answer(204, "")

    return run_idempotent(delete)


@routes.post("/endpoints/<endpoint_id>/pause")
def pause_endpoint(endpoint_id: str) -> Response:
    """Hold new deliveries of an endpoint; attempts in flight finish."""
    return _change_state(endpoint_id, endpoint_changes.pause)


@routes.post("/endpoints/<endpoint_id>/resume")
def resume_endpoint(endpoint_id: str) -> Response:
    """Send held deliveries, and enable a disabled endpoint."""
    return _change_state(endpoint_id, endpoint_changes.resume)


def _change_state(endpoint_id: str, state_change: Callable[[Tx, str, str, Micros], None]) -> Response:
    NoBody.read_body(may_be_empty=True)

    def change(tx: Tx, now: Micros) -> Answer:
        state_change(tx, subscriber_id(), endpoint_id, now)
        return Answer(200, write_json(_read_document(tx, endpoint_id, now)))

    return run_idempotent(change)


@routes.post("/endpoints/<endpoint_id>/test")
def send_test(endpoint_id: str) -> Response:
    """Send `relay.test` along the real path, whatever the endpoint's state is."""
    NoBody.read_body(may_be_empty=True)

    def send(tx: Tx, now: Micros) -> Answer:
        delivery_id = deliveries.send_test(tx, subscriber_id(), endpoint_id, now, ctx.clock.new_id)
        delivery = delivery_views.delivery(tx, subscriber_id(), delivery_id)
        text = write_json(deliveries_resource.whole_document(delivery))
        return Answer(202, text, f"/v1/deliveries/{delivery_id}")

    return run_idempotent(send)


def _read_document(tx: Tx, endpoint_id: str, now: Micros) -> Document:
    return _document(endpoint_views.endpoint(tx, subscriber_id(), endpoint_id, now))


def _document(endpoint: endpoint_views.EndpointView) -> Document:
    row = endpoint.row
    is_open = row.opened_at is not None
    is_probed = is_open and row.status == EndpointStatus.ACTIVE
    return {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "headers": _masked_headers(row),
        "status": row.status,
        "disabled_reason": row.disabled_reason,
        "circuit": "open" if is_open else "closed",
        "failing_since": shown_time(row.failing_since),
        "next_probe_at": shown_time(row.open_until if is_probed else None),
        "last_error": row.last_error,
        "in_flight": endpoint.in_flight,
        "max_in_flight": row.max_in_flight,
        "rate_per_second": row.rate_per_second,
        "notices": bool(row.notices),
        "created_at": rfc3339(row.created_at),
    }


def _masked_headers(row: Any) -> dict[str, str] | None:
    """The names of the custom headers; None where they can't be decrypted, to show the rest."""
    try:
        headers = json.loads(ctx.encryption.decrypt(row.id, row.headers_sealed)) if row.headers_sealed else {}
    except SettingsError:
        return None
    return dict.fromkeys(headers, MASK)
