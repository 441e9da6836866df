"""What subscribers read: watches, jobs, endpoints and deliveries as plain dicts in the API's shapes.

Every query is bound to one subscriber; what belongs to another is not found. Lists are newest first, page by
page: ids sort by time, so a page goes on below the last id of the one before.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from relay.core.errors import NotFound
from relay.core.ids import first_id
from relay.core.records import Micros
from relay.core.states import DeliveryStatus, EndpointStatus, JobStatus
from relay.core.webhook import rfc3339
from relay.store.budget import SOURCE
from relay.store.engine import Tx, among
from relay.store.tables import Attempt, Delivery, Endpoint, Job, Watch
from relay.store.vault import Vault

Document = dict[str, Any]

CHUNK = 500  # ids of one statement: few enough parameters for every database
MASK = "•••"
JOB_FACTS = (
    Job.job_id,
    Job.status,
    Job.type,
    Job.code,
    Job.message,
    Job.media_id,
    Job.creation_time,
    Job.complete_time,
)


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` things, older than the thing with the id `below`."""

    limit: int
    below: str | None = None


def is_id(prefix: str, text: str) -> bool:
    """Whether a text is spelled like an id; only such texts may be compared with ids in SQL."""
    return re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", text) is not None


def cursor(last_id: str) -> str:
    """The opaque text that stands for "older than this"."""
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def read_cursor(prefix: str, text: str) -> str | None:
    """The id that a cursor stands for; None when it is none of ours."""
    try:
        last_id = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        return None
    return last_id if is_id(prefix, last_id) else None


_WATCH = (
    select(Watch.__table__, Job.job_id, Endpoint.url)
    .join(Job, Job.id == Watch.job)
    .join(Endpoint, Endpoint.id == Watch.endpoint_id)
)


def watch(tx: Tx, subscriber_id: str, watch_id: str) -> Document:
    """One watch with its job's summary and its deliveries' ids. Raises NotFound."""
    found = watches_by_id(tx, subscriber_id, [watch_id])
    if not found:
        raise NotFound("there is no such watch")
    facts = tx.execute(select(*JOB_FACTS).join(Watch, Watch.job == Job.id).where(Watch.id == watch_id)).one()
    ids = tx.scalars(select(Delivery.id).where(Delivery.watch_id == watch_id).order_by(Delivery.id))
    return found[0] | {"job": _facts(facts), "delivery_ids": list(ids)}


def watches_by_id(tx: Tx, subscriber_id: str, ids: Sequence[str]) -> list[Document]:
    """The watches with these ids, in this order; what is not the subscriber's is left out."""
    found: dict[str, Document] = {}
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        rows = tx.execute(_WATCH.where(among(tx, Watch.id, chunk), Watch.subscriber_id == subscriber_id))
        found |= {row.id: _watch(row) for row in rows}
    return [found[watch_id] for watch_id in ids if watch_id in found]


def watches(
    tx: Tx,
    subscriber_id: str,
    page: Page,
    *,
    status: str | None = None,
    job_id: str | None = None,
    endpoint_id: str | None = None,
) -> Document:
    """A page of watches."""
    statement = _WATCH.where(Watch.subscriber_id == subscriber_id)
    if status is not None:
        statement = statement.where(Watch.status == status)
    if job_id is not None:
        statement = statement.where(Job.source == SOURCE, Job.job_id == job_id)
    if endpoint_id is not None:
        statement = statement.where(Watch.endpoint_id == endpoint_id)
    return _listed([_watch(row) for row in _rows(tx, statement, Watch.id, page)], page)


def job(tx: Tx, subscriber_id: str, job_id: str) -> tuple[Document, str]:
    """What the provider last said of a job, and its `data` as JSON text: verbatim where it is strict JSON.

    Raises:
        NotFound: the subscriber neither watches nor watched it.
    """
    mine = select(Watch.id).where(Watch.job == Job.id, Watch.subscriber_id == subscriber_id).exists()
    row = tx.execute(
        select(*JOB_FACTS, Job.polled_at, Job.finished_at, Job.data, Job.data_bytes, Job.data_is_json).where(
            Job.source == SOURCE, Job.job_id == job_id, mine
        )
    ).one_or_none()
    if row is None:
        raise NotFound("you watch no such job")
    facts = _facts(row)
    times = {"polled_at": _time(row.polled_at), "finished_at": _time(row.finished_at)}
    if row.data is None and row.data_bytes:
        return facts | times | {"data_omitted": True}, "null"  # longer than the database takes
    if row.data is None or row.status == JobStatus.OPEN:
        return facts | times, "null"
    text = row.data.strip(" \t\r\n") if row.data_is_json else json.dumps(row.data, ensure_ascii=False)
    return facts | times, text


def endpoint(tx: Tx, subscriber_id: str, endpoint_id: str, vault: Vault) -> Document:
    """One endpoint. Raises NotFound."""
    row = tx.execute(_endpoints_of(subscriber_id).where(Endpoint.id == endpoint_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such endpoint")
    return _endpoint(row, vault)


def endpoints(tx: Tx, subscriber_id: str, page: Page, vault: Vault) -> Document:
    """A page of endpoints."""
    rows = _rows(tx, _endpoints_of(subscriber_id), Endpoint.id, page)
    return _listed([_endpoint(row, vault) for row in rows], page)


_DELIVERY = select(Delivery.__table__, Endpoint.status.label("endpoint_status")).join(
    Endpoint, Endpoint.id == Delivery.endpoint_id
)


def delivery(tx: Tx, subscriber_id: str, delivery_id: str) -> Document:
    """One delivery with its attempts, the first one first. Raises NotFound."""
    row = tx.execute(
        _DELIVERY.where(Delivery.id == delivery_id, Delivery.subscriber_id == subscriber_id)
    ).one_or_none()
    if row is None:
        raise NotFound("there is no such delivery")
    attempts = tx.execute(
        select(Attempt.__table__).where(Attempt.delivery_id == delivery_id).order_by(Attempt.number)
    )
    return _delivery(row) | {"attempts": [_attempt(attempt) for attempt in attempts]}


def deliveries(
    tx: Tx,
    subscriber_id: str,
    page: Page,
    *,
    status: str | None = None,
    endpoint_id: str | None = None,
    watch_id: str | None = None,
    since: Micros | None = None,
    until: Micros | None = None,
) -> Document:
    """A page of deliveries made from `since` on and before `until`."""
    statement = _DELIVERY.where(Delivery.subscriber_id == subscriber_id)
    if status is not None:
        statement = statement.where(*_status_is(status))
    if endpoint_id is not None:
        statement = statement.where(Delivery.endpoint_id == endpoint_id)
    if watch_id is not None:
        statement = statement.where(Delivery.watch_id == watch_id)
    if since is not None:
        statement = statement.where(Delivery.id >= first_id("msg", since))
    if until is not None:
        statement = statement.where(Delivery.id < first_id("msg", until))
    return _listed([_delivery(row) for row in _rows(tx, statement, Delivery.id, page)], page)


def _status_is(status: str) -> tuple[Any, ...]:
    """A pending delivery is held where its endpoint does not send."""
    match status:
        case DeliveryStatus.HELD:
            return Delivery.due_at.is_not(None), Endpoint.status != EndpointStatus.ACTIVE
        case DeliveryStatus.PENDING:
            return Delivery.due_at.is_not(None), Endpoint.status == EndpointStatus.ACTIVE
        case _:
            return (Delivery.status == status,)


def _rows(tx: Tx, statement: Select[*tuple[Any, ...]], key: Any, page: Page) -> list[Any]:
    """One more row than the page holds tells whether there is a next one."""
    if page.below is not None:
        statement = statement.where(key < page.below)
    return list(tx.execute(statement.order_by(key.desc()).limit(page.limit + 1)))


def _listed(documents: list[Document], page: Page) -> Document:
    data = documents[: page.limit]
    more = len(documents) > page.limit
    return {"data": data, "next_cursor": cursor(data[-1]["id"]) if more else None}


def _endpoints_of(subscriber_id: str) -> Select[*tuple[Any, ...]]:
    return select(Endpoint.__table__).where(
        Endpoint.subscriber_id == subscriber_id, Endpoint.deleted_at.is_(None)
    )


def _facts(row: Any) -> Document:
    return {column.key: getattr(row, column.key) for column in JOB_FACTS}


def _watch(row: Any) -> Document:
    return {
        "id": row.id,
        "job_id": row.job_id,
        "endpoint_id": row.endpoint_id,
        "callback_url": row.url if row.query is None else f"{row.url}?{row.query}",
        "status": row.status,
        "events": row.events.split(","),
        "metadata": json.loads(row.user_metadata),
        "created_at": rfc3339(row.created_at),
        "expires_at": rfc3339(row.expires_at),
        "finished_at": _time(row.finished_at),
    }


def _endpoint(row: Any, vault: Vault) -> Document:
    headers = json.loads(vault.open(row.id, row.headers_sealed)) if row.headers_sealed else {}
    return {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "headers": dict.fromkeys(headers, MASK),
        "status": row.status,
        "disabled_reason": row.disabled_reason,
        "failing_since": _time(row.failing_since),
        "next_probe_at": _time(row.ready_at if row.failing_since else None),
        "last_error": row.last_error,
        "max_in_flight": row.max_in_flight,
        "rate_per_second": row.rate_per_second,
        "created_at": rfc3339(row.created_at),
    }


def _delivery(row: Any) -> Document:
    held = row.status == DeliveryStatus.PENDING and row.endpoint_status != EndpointStatus.ACTIVE
    in_flight = row.token is not None  # `due_at` is then the end of its lease
    return {
        "id": row.id,
        "watch_id": row.watch_id,
        "endpoint_id": row.endpoint_id,
        "event": row.event,
        "status": DeliveryStatus.HELD if held else row.status,
        "attempt_count": row.attempt_count,
        "created_at": rfc3339(row.created_at),
        "next_attempt_at": None if held or in_flight else _time(row.due_at),
        "delivered_at": _time(row.delivered_at),
        "last_error": row.last_error,
    }


def _attempt(row: Any) -> Document:
    return {
        "id": row.id,
        "number": row.number,
        "started_at": rfc3339(row.started_at),
        "duration_ms": None if row.duration is None else row.duration // 1000,
        "status_code": row.status_code,
        "error": row.error,
        "detail": row.detail,
        "response_body": row.response_body,
    }


def _time(at: Micros | None) -> str | None:
    return None if at is None else rfc3339(at)
