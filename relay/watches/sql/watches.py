"""Finds and ends watches. Their job is locked first, so that none is missed while it ends."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from relay.common.ids import NewId
from relay.common.states import WatchStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among
from relay.db.tables import Job, Watch
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoints
from relay.sending.rules.webhook import DATA_LIMIT
from relay.watches.sql import moves
from relay.watches.sql.moves import CHUNK


def waiting_key(job: int, endpoint_id: str, query: str | None, events: str, metadata: str) -> str:
    """The hash of what makes two watches equal, whatever the order of the metadata's members."""
    canonical = json.dumps(json.loads(metadata), sort_keys=True)
    parts = json.dumps([job, endpoint_id, query, events, canonical])
    return hashlib.sha256(parts.encode()).hexdigest()


def waiting_by_key(tx: Tx, keys: Sequence[str]) -> dict[str, str]:
    """Waiting key → watch id, for those that wait."""
    found: dict[str, str] = {}
    for start in range(0, len(keys), CHUNK):
        rows = tx.execute(
            select(Watch.waiting_key, Watch.id).where(
                among(tx, Watch.waiting_key, keys[start : start + CHUNK])
            )
        )
        found |= {row.waiting_key: row.id for row in rows if row.waiting_key is not None}
    return found


def count_waiting(tx: Tx, subscriber_id: str) -> int:
    """How many of the subscriber's watches wait."""
    return tx.execute(
        select(func.count()).where(Watch.subscriber_id == subscriber_id, Watch.due_at.is_not(None))
    ).scalar_one()


_COLUMNS = (
    Watch.id,
    Watch.subscriber_id,
    Watch.job,
    Watch.endpoint_id,
    Watch.events,
    Watch.created_at,
    Watch.missing_base,
    func.length(Watch.user_metadata).label("metadata_bytes"),
)


_WAITING = select(*_COLUMNS).where(Watch.due_at.is_not(None)).order_by(Watch.id)


def waiting_for(tx: Tx, jobs: Sequence[int]) -> list[Any]:
    """Every watch that waits for these jobs, which are locked."""
    return list(tx.execute(_WAITING.where(among(tx, Watch.job, sorted(jobs))))) if jobs else []


def still_waiting(tx: Tx, ids: Sequence[str]) -> list[Any]:
    """The watches of these ids that still wait; their jobs are locked."""
    return list(tx.execute(_WAITING.where(among(tx, Watch.id, sorted(ids))))) if ids else []


def waited_in_vain(tx: Tx, jobs: Sequence[int], *, registered_before: Micros, polls: int) -> list[Any]:
    """The watches on these jobs whose source has denied the job often and long enough."""
    denied = _WAITING.join(Job, Job.id == Watch.job).where(
        among(tx, Watch.job, jobs),
        Watch.created_at <= registered_before,
        Job.missing_count - Watch.missing_base >= polls,
    )
    return list(tx.execute(denied))


def overdue(tx: Tx, now: Micros, limit: int) -> list[Any]:
    """Watches past their deadline, oldest first: id and job."""
    due = select(Watch.id, Watch.job).where(Watch.due_at <= now).order_by(Watch.due_at)
    return list(tx.execute(due.limit(limit)))


def next_deadline(tx: Tx) -> Micros | None:
    """The earliest deadline of a watch that waits."""
    return tx.scalar(select(Watch.due_at).where(Watch.due_at.is_not(None)).order_by(Watch.due_at).limit(1))


@dataclass(frozen=True, slots=True)
class Ending:
    """Watches that end alike, and the event of that end; None where nobody is notified."""

    rows: Sequence[Any]
    status: WatchStatus
    event: str | None


def end(
    tx: Tx,
    endings: Sequence[Ending],
    now: Micros,
    new_id: NewId,
    *,
    data_bytes: Mapping[int, int] | None = None,
) -> None:
    """End watches, whose jobs are locked, and enqueue a delivery for each that asked for the event.

    All that end in one transaction end in one call, so that their endpoints are locked in one
    order. A watch whose endpoint was deleted ends as cancelled. `data_bytes` is each job's length
    of data.
    """
    owners = endpoints.lock_in_order(tx, (row.endpoint_id for ending in endings for row in ending.rows))
    for ending in endings:
        gone = [row for row in ending.rows if owners[row.endpoint_id].deleted_at is not None]
        ended = [row for row in ending.rows if owners[row.endpoint_id].deleted_at is None]
        moves.end(tx, [row.id for row in gone], WatchStatus.CANCELLED, now)
        moves.end(tx, [row.id for row in ended], ending.status, now)
        if ending.event is not None:
            notify(tx, ended, ending.event, now, new_id, data_bytes=data_bytes)


def notify(
    tx: Tx,
    rows: Sequence[Any],
    event: str,
    now: Micros,
    new_id: NewId,
    *,
    data_bytes: Mapping[int, int] | None = None,
) -> None:
    """Enqueue a delivery for each of these watches that asked for the event.

    Their endpoints are locked.
    """
    asked = [row for row in rows if event in row.events.split(",")]
    sizes = data_bytes or {}
    deliveries.enqueue(tx, [_delivery_of(row, event, sizes, now, new_id) for row in asked], now)


def _delivery_of(
    row: Any, event: str, data_bytes: Mapping[int, int], now: Micros, new_id: NewId
) -> dict[str, Any]:
    data = data_bytes.get(row.job, 0)
    return deliveries.new_row(
        new_id("msg"),
        subscriber_id=row.subscriber_id,
        watch_id=row.id,
        endpoint_id=row.endpoint_id,
        event=event,
        payload_bytes=row.metadata_bytes + (data if data <= DATA_LIMIT else 0),
        now=now,
    )


def job_of(tx: Tx, subscriber_id: str, watch_id: str) -> int | None:
    """The key of the job that this watch of the subscriber is on."""
    return tx.scalar(select(Watch.job).where(Watch.id == watch_id, Watch.subscriber_id == subscriber_id))


def cancel(tx: Tx, watch_id: str, now: Micros) -> None:
    """Cancel a watch if it waits; its job is locked."""
    moves.end(tx, [row.id for row in still_waiting(tx, [watch_id])], WatchStatus.CANCELLED, now)
