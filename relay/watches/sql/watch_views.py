"""What subscribers read of watches and jobs. Every query is bound to one subscriber; see `pages`."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from relay.common.errors import NotFound
from relay.common.time import rfc3339
from relay.db.engine import Tx
from relay.db.pagination import Document, Page, listed, page_rows, shown_time
from relay.db.statements import among
from relay.db.tables import Endpoint, Job, Listing, Watch
from relay.jobs.sql.job_views import JOB_FACTS, job_facts
from relay.provider.source import SOURCE

CHUNK = 500  # ids of one statement: few enough parameters for every database

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
    ids = tx.scalars(
        select(Listing.delivery_id).where(Listing.watch_id == watch_id).order_by(Listing.delivery_id)
    )
    return found[0] | {"job": job_facts(facts), "delivery_ids": list(ids)}


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
    return listed([_watch(row) for row in page_rows(tx, statement, Watch.id, page)], page)


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
        "finished_at": shown_time(row.finished_at),
    }
