"""Watches: registering, showing, listing and cancelling."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Self

from flask import Response
from pydantic import Field, PlainValidator, ValidationInfo, model_validator

from relay import telemetry
from relay.api import bodies
from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.idempotent import Answer, run_idempotent
from relay.api.models import RequestModel, WrongMember
from relay.api.queries import ListQuery
from relay.api.responses import Document, show, show_page, shown_time, write_json
from relay.api.v1 import jobs
from relay.api.v1.resource import EndpointId, JobId, OwnEndpointId, Source, Url, id_pattern, resource
from relay.common import events
from relay.common.states import WatchStatus
from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx
from relay.provider.registry import DEFAULT_SOURCE, SOURCES
from relay.telemetry.events import WatchRegistered
from relay.watches import registration
from relay.watches.registration import WatchRequest
from relay.watches.sql import watch_views

METADATA_BYTES = 4096  # as compact JSON in UTF-8
METADATA_DEPTH = 16  # the object itself is the first level


def _check_events(value: Any, info: ValidationInfo) -> str:
    """Check events of the watch's source, and join them in their usual order."""
    if not isinstance(value, list) or not value:
        raise WrongMember("must be a list with at least one event in it")
    known = SOURCES[info.data.get("source") or DEFAULT_SOURCE].watchable
    if not all(isinstance(event, str) and event in known for event in value):
        raise WrongMember(f"must hold only {', '.join(known)}")
    return events.join(event for event in known if event in value)


def _check_metadata(value: Any) -> str:
    """Check metadata and write it as compact JSON, its members in the order given."""
    if not isinstance(value, dict):
        raise WrongMember("must be a JSON object")
    if _is_deeper(value, METADATA_DEPTH):
        raise WrongMember(f"must be at most {METADATA_DEPTH} levels deep")
    text = write_json(value)
    if len(text.encode()) > METADATA_BYTES:
        raise WrongMember(f"must be at most {METADATA_BYTES:,} bytes as compact JSON")
    return text


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        children = (parent.values() if isinstance(parent, dict) else parent for parent in level)
        level = [child for some in children for child in some if isinstance(child, dict | list)]
    return bool(level)


Events = Annotated[
    str, PlainValidator(_check_events), Field(description="a list with at least one event in it")
]
Metadata = Annotated[
    str, PlainValidator(_check_metadata), Field(description="a JSON object of at most 4 KiB, 16 levels deep")
]
TimeoutSeconds = Annotated[int, Field(ge=60, le=2_592_000, description="a whole number from 60 to 2592000")]
Status = Annotated[WatchStatus, Field(strict=False, description=f"one of {', '.join(WatchStatus)}")]


class WatchBody(RequestModel):
    """Notify one endpoint when one job ends."""

    job_id: JobId
    source: Source | None = None  # stands before `events`, which depend on it
    callback_url: Url | None = None
    endpoint_id: OwnEndpointId | None = None
    events: Events | None = None
    metadata: Metadata | None = None
    timeout_seconds: TimeoutSeconds | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.callback_url is None) == (self.endpoint_id is None):
            raise WrongMember("must have exactly one of callback_url and endpoint_id")
        return self

    def request(self, pointer: str = "") -> WatchRequest:
        """The registration, with every default filled in."""
        url = self.callback_url
        source = SOURCES[self.source or DEFAULT_SOURCE]
        return WatchRequest(
            source=source.name,
            job_id=self.job_id,
            endpoint_id=self.endpoint_id,
            endpoint_url=None if url is None else url.endpoint_url,
            query=None if url is None else url.query,
            events=self.events or events.join(source.default_events),
            metadata=self.metadata or "{}",
            timeout=self.timeout_seconds or 86_400,
            pointer=pointer,
        )


class BatchBody(RequestModel):
    """Many watches, all or none."""

    watches: Annotated[
        list[WatchBody], Field(min_length=1, max_length=1000, description="a list of 1 to 1000 watches")
    ]


class WatchList(ListQuery):
    """Which watches to list."""

    cursor_pattern = id_pattern("wat")

    status: Status | None = None
    job_id: JobId | None = None
    endpoint_id: EndpointId | None = None


routes = resource("watches")


@routes.post("/watches")
def post_watch() -> Response:
    """Register one watch: 201, or 200 with an equal watch that waits."""
    request = WatchBody.read_body().request()

    def register_one(tx: Tx, now: Micros) -> Answer:
        (watch,), new, after_commit = _register(tx, [request], now)
        if not new:
            return Answer(200, write_json(watch), after_commit=after_commit)
        return Answer(201, write_json(watch), f"/v1/watches/{watch['id']}", after_commit=after_commit)

    return run_idempotent(register_one)


@routes.post("/watches/batch")
def post_watches() -> Response:
    """Register many watches, all or none."""
    batch = BatchBody.read_body(bodies.BATCH_LIMIT)
    requests = [watch.request(f"/watches/{index}") for index, watch in enumerate(batch.watches)]

    def register_all(tx: Tx, now: Micros) -> Answer:
        watches, _, after_commit = _register(tx, requests, now)
        return Answer(201, write_json({"data": watches}), after_commit=after_commit)

    return run_idempotent(register_all)


def _register(
    tx: Tx, requests: list[WatchRequest], now: Micros
) -> tuple[list[Document], int, Callable[[], None]]:
    """The watches of these requests, how many of them are new, and their log event."""
    registered = registration.register(tx, subscriber_id(), requests, now, ctx.clock.new_id)
    rows = watch_views.watches_by_id(tx, subscriber_id(), [watch.watch_id for watch in registered])
    new = len({watch.watch_id for watch in registered if watch.created})
    return [_document(row) for row in rows], new, lambda: telemetry.emit(WatchRegistered(len(requests), new))


@routes.get("/watches")
def get_watches() -> Response:
    """List watches."""
    query = WatchList.read_query()
    rows = ctx.store.read(watch_views.watches, subscriber_id(), query.page, **query.filters)
    return show_page(rows, query.page, _document)


@routes.get("/watches/<watch_id>")
def get_watch(watch_id: str) -> Response:
    """Show one watch with its job's summary and its deliveries' ids."""
    return show(_whole_document(ctx.store.read(watch_views.watch, subscriber_id(), watch_id)))


@routes.delete("/watches/<watch_id>")
def delete_watch(watch_id: str) -> Response:
    """Cancel a watch."""

    def cancel(tx: Tx, now: Micros) -> Answer:
        registration.cancel(tx, subscriber_id(), watch_id, now)
        watch = watch_views.watch(tx, subscriber_id(), watch_id)
        return Answer(200, write_json(_whole_document(watch)))

    return run_idempotent(cancel)


def _document(row: Any) -> Document:
    return {
        "id": row.id,
        **jobs.source_member(row.source),
        "job_id": row.job_id,
        "endpoint_id": row.endpoint_id,
        "callback_url": row.url if row.query is None else f"{row.url}?{row.query}",
        "status": row.status,
        "events": row.events.split(","),
        "metadata": json.loads(row.user_metadata),
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "finished_at": shown_time(row.finished_at),
    }


def _whole_document(watch: watch_views.WatchView) -> Document:
    """One watch alone: with its job's summary and its deliveries' ids."""
    return _document(watch.row) | {"job": jobs.summary(watch.job), "delivery_ids": watch.delivery_ids}
