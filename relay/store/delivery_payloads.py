"""What a claimed delivery's body and POST are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import case, null, select

from relay.core.records import JobReport, Micros
from relay.core.states import JobStatus
from relay.core.webhook import DATA_LIMIT
from relay.store.engine import Tx, among
from relay.store.tables import Delivery, Endpoint, Job, Watch


class Due(NamedTuple):
    """A due row as the claim first sees it; `due_at` is None for a test."""

    id: str
    endpoint_id: str
    token: str | None
    attempt_count: int
    lost_count: int
    cancel_requested: int
    payload_bytes: int
    due_at: Micros | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed delivery with all that its body and its POST are made from."""

    id: str
    token: str
    number: int
    lost_count: int
    endpoint_id: str
    subscriber_id: str
    unproven: bool
    payload_bytes: int
    event: str
    created_at: Micros
    url: str
    headers_sealed: str | None
    watch_id: str | None
    metadata: str | None
    content: str | None
    job: JobReport | None
    data_bytes: int


def load(tx: Tx, taken: Sequence[Due], token: str, unproven: set[str]) -> list[Claimed]:
    """Read what the bodies of these rows are made from; data that no body can hold stays in the database."""
    if not taken:
        return []
    rows = tx.execute(
        select(
            Delivery.id,
            Delivery.event,
            Delivery.created_at,
            Delivery.subscriber_id,
            Delivery.watch_id,
            Watch.query,
            Watch.user_metadata,
            Delivery.content,
            Endpoint.url,
            Endpoint.headers_sealed,
            Job.job_id,
            Job.status,
            Job.type,
            Job.code,
            Job.message,
            Job.media_id,
            Job.creation_time,
            Job.complete_time,
            case((Job.data_bytes <= DATA_LIMIT, Job.data), else_=null()).label("data"),
            Job.data_bytes,
            Job.data_is_json,
        )
        .select_from(Delivery)
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .outerjoin(Watch, Watch.id == Delivery.watch_id)
        .outerjoin(Job, Job.id == Watch.job)
        .where(among(tx, Delivery.id, [row.id for row in taken]))
    )
    found = {row.id: row for row in rows}
    return [_claimed(row, found[row.id], token, unproven) for row in taken]


def _claimed(due: Due, row: Any, token: str, unproven: set[str]) -> Claimed:
    return Claimed(
        id=due.id,
        token=token,
        number=due.attempt_count + 1,
        lost_count=due.lost_count + (due.token is not None),
        endpoint_id=due.endpoint_id,
        subscriber_id=row.subscriber_id,
        unproven=due.endpoint_id in unproven,
        payload_bytes=due.payload_bytes,
        event=row.event,
        created_at=row.created_at,
        url=row.url if row.query is None else f"{row.url}?{row.query}",
        headers_sealed=row.headers_sealed,
        watch_id=row.watch_id,
        metadata=row.user_metadata,
        content=row.content,
        job=_report(row) if row.job_id is not None else None,
        data_bytes=row.data_bytes or 0,
    )


def _report(row: Any) -> JobReport:
    return JobReport(
        job_id=row.job_id,
        status=JobStatus(row.status),
        type=row.type,
        code=row.code,
        message=row.message,
        media_id=row.media_id,
        creation_time=row.creation_time,
        complete_time=row.complete_time,
        data=row.data,
        data_is_json=bool(row.data_is_json),
    )
