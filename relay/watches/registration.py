"""Registers and cancels watches: each function is one transaction, from request to rows.

A watch on a job that has ended gets its delivery in the same transaction. The job's row is locked
first, so that a watch added in the moment its job ends is never missed: either the recording of the
poll's result sees the watch, or the registration sees the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.common import events
from relay.common.errors import Fault, Invalid, NotFound, QuotaExceeded
from relay.common.ids import NewId
from relay.common.states import JobStatus, WatchStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoints
from relay.jobs.sql import jobs
from relay.jobs.sql import moves as job_moves
from relay.jobs.sql.jobs import JobName
from relay.provider.registry import DEFAULT_SOURCE, SOURCES
from relay.watches.sql import moves, watches
from relay.watches.sql.watches import Ending

WAITING_WATCHES = 100_000  # per subscriber
ENDPOINTS = 1_000  # per subscriber


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What a subscriber asks for; exactly one of `endpoint_id` and `endpoint_url` is set.

    `query` is the callback URL's, `events` the wanted ones joined by commas in their usual order,
    `metadata` a compact JSON object, `timeout` seconds. `pointer` is where the request stands in
    the body.
    """

    job_id: str
    endpoint_id: str | None
    endpoint_url: str | None
    query: str | None
    events: str
    metadata: str
    timeout: int
    pointer: str = ""
    source: str = DEFAULT_SOURCE

    @property
    def job(self) -> JobName:
        """What names the job."""
        return self.source, self.job_id


@dataclass(frozen=True, slots=True)
class Registered:
    """The watch that stands for a request, and whether it is new."""

    watch_id: str
    created: bool


def register(
    tx: Tx, subscriber_id: str, requests: Sequence[WatchRequest], now: Micros, new_id: NewId
) -> list[Registered]:
    """Register watches, all or none; a watch equal to a waiting one is that, with its deadline.

    Raises Invalid for another subscriber's endpoint and QuotaExceeded beyond the subscriber's
    limits.
    """
    known = jobs.find_or_make(tx, (request.job for request in requests), now)
    targets = _targets(tx, subscriber_id, requests, now, new_id)
    keys = [
        watches.waiting_key(known[request.job].id, target, request.query, request.events, request.metadata)
        for request, target in zip(requests, targets, strict=True)
    ]
    standing = watches.waiting_by_key(tx, keys)
    rows: dict[str, dict[str, Any]] = {}
    for request, target, key in zip(requests, targets, keys, strict=True):
        if key not in standing and key not in rows:
            rows[key] = _row(subscriber_id, request, known[request.job], target, key, now)
    for key, watch_id in zip(rows, sorted(new_id("wat") for _ in rows), strict=True):
        rows[key]["id"] = watch_id
    _check_quota(tx, subscriber_id, len(rows))
    if any(job.status != JobStatus.OPEN for job in known.values()):
        # These get deliveries at once: lock their endpoints before the watches' foreign keys
        # share-lock them.
        endpoints.lock_in_order(tx, (row["endpoint_id"] for row in rows.values()))
    moves.insert_waiting(tx, list(rows.values()))
    _end_or_activate(tx, subscriber_id, list(rows.values()), known, now, new_id)
    return [Registered(standing.get(key) or rows[key]["id"], key in rows) for key in keys]


def cancel(tx: Tx, subscriber_id: str, watch_id: str, now: Micros) -> None:
    """Cancel a watch: what is in flight finishes, nothing new is sent, history stays.

    Cancelling a watch that has ended cancels its pending delivery. Raises NotFound.
    """
    job = watches.job_of(tx, subscriber_id, watch_id)
    if job is None:
        raise NotFound("there is no such watch")
    jobs.lock_in_order(tx, [job])
    watches.cancel(tx, watch_id, now)
    job_moves.suspend(tx, [job])
    deliveries.cancel_of_watch(tx, watch_id, now)


def _targets(
    tx: Tx, subscriber_id: str, requests: Sequence[WatchRequest], now: Micros, new_id: NewId
) -> list[str]:
    """The endpoint of each request, found or made."""
    named = {request.endpoint_id for request in requests if request.endpoint_id is not None}
    owned = endpoints.owned(tx, subscriber_id, named)
    faults = [
        Fault(f"{request.pointer}/endpoint_id", "is not an endpoint of yours; list them at /v1/endpoints")
        for request in requests
        if request.endpoint_id is not None and request.endpoint_id not in owned
    ]
    if faults:
        raise Invalid(faults)
    urls = [request.endpoint_url for request in requests if request.endpoint_url is not None]
    by_url, created = endpoints.find_or_make(tx, subscriber_id, urls, now, new_id)
    if created:
        check_endpoint_quota(tx, subscriber_id)
    return [request.endpoint_id or by_url[str(request.endpoint_url)] for request in requests]


def check_endpoint_quota(tx: Tx, subscriber_id: str) -> None:
    """Refuse, and so undo, what has just made one endpoint too many."""
    if endpoints.count(tx, subscriber_id) > ENDPOINTS:
        raise QuotaExceeded(
            f"a subscriber has at most {ENDPOINTS:,} endpoints; put ids into the watch's metadata or the"
            " callback URL's query, not into its path, or delete endpoints that are no longer used"
        )


def _check_quota(tx: Tx, subscriber_id: str, more: int) -> None:
    if more and watches.count_waiting(tx, subscriber_id) + more > WAITING_WATCHES:
        raise QuotaExceeded(
            f"a subscriber has at most {WAITING_WATCHES:,} waiting watches; wait until some end, cancel some"
        )


def _row(
    subscriber_id: str, request: WatchRequest, job: Any, target: str, key: str, now: Micros
) -> dict[str, Any]:
    """A watch as it is first inserted: it waits."""
    return {
        "subscriber_id": subscriber_id,
        "job": job.id,
        "endpoint_id": target,
        "query": request.query,
        "events": events.join(request.events.split(",")),
        "user_metadata": request.metadata,
        "waiting_key": key,
        "missing_base": job.missing_count,
        "created_at": now,
        "expires_at": now + request.timeout * US_PER_SECOND,
    }


def _end_or_activate(
    tx: Tx,
    subscriber_id: str,
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[JobName, Any],
    now: Micros,
    new_id: NewId,
) -> None:
    """Watches on jobs that have ended end at once; the other jobs are polled from now on."""
    state = {job.id: job for job in known.values()}
    ended: dict[tuple[str, WatchStatus], list[str]] = {}
    for row in rows:
        job = state[row["job"]]
        if job.status != JobStatus.OPEN:
            ended.setdefault((job.source, WatchStatus(job.status)), []).append(row["id"])
    endings = [
        Ending(watches.still_waiting(tx, ids), status, SOURCES[source].event_of(status))
        for (source, status), ids in ended.items()
    ]
    sizes = {job.id: job.data_bytes for job in known.values()}
    watches.end(tx, endings, now, new_id, data_bytes=sizes)
    job_moves.activate(tx, sorted({row["job"] for row in rows}), subscriber_id, now)
