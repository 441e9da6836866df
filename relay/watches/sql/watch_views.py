"""Watches as their subscribers read them: every query is bound to one subscriber."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from relay.common.errors import NotFound
from relay.db.engine import Tx
from relay.db.pagination import Page, page_rows
from relay.db.statements import among
from relay.db.tables import Endpoint, Job, Listing, Watch
from relay.jobs.sql.job_views import JOB_FACTS
from relay.provider.registry import SOURCES

CHUNK = 500  # ids of one statement: few enough parameters for every database

_WATCH = (
    select(Watch.__table__, Job.source, Job.job_id, Endpoint.url)
    .join(Job, Job.id == Watch.job)
    .join(Endpoint, Endpoint.id == Watch.endpoint_id)
)


@dataclass(frozen=True, slots=True)
class WatchView:
    """One watch with its job and the ids of its deliveries."""

    row: Any
    job: Any
    delivery_ids: list[str]


def watch(tx: Tx, subscriber_id: str, watch_id: str) -> WatchView:
    """One watch. Raises NotFound."""
    found = watches_by_id(tx, subscriber_id, [watch_id])
    if not found:
        raise NotFound("there is no such watch")
    job = tx.execute(select(*JOB_FACTS).join(Watch, Watch.job == Job.id).where(Watch.id == watch_id)).one()
    ids = tx.scalars(
        select(Listing.delivery_id).where(Listing.watch_id == watch_id).order_by(Listing.delivery_id)
    )
    return WatchView(found[0], job, list(ids))


def watches_by_id(tx: Tx, subscriber_id: str, ids: Sequence[str]) -> list[Any]:
    """The watches with these ids, in this order, but for those of other subscribers."""
    found: dict[str, Any] = {}
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        rows = tx.execute(_WATCH.where(among(tx, Watch.id, chunk), Watch.subscriber_id == subscriber_id))
        found |= {row.id: row for row in rows}
    return [found[watch_id] for watch_id in ids if watch_id in found]


def watches(
    tx: Tx,
    subscriber_id: str,
    page: Page,
    *,
    status: str | None = None,
    job_id: str | None = None,
    endpoint_id: str | None = None,
) -> list[Any]:
    """The rows of a page of watches."""
    statement = _WATCH.where(Watch.subscriber_id == subscriber_id)
    if status is not None:
        statement = statement.where(Watch.status == status)
    if job_id is not None:
        statement = statement.where(among(tx, Job.source, [*SOURCES]), Job.job_id == job_id)
    if endpoint_id is not None:
        statement = statement.where(Watch.endpoint_id == endpoint_id)
    return page_rows(tx, statement, Watch.id, page)
