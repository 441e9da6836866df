"""Loads what a claimed delivery's body and POST are made from."""

from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import case, null, select

from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import among
from relay.db.tables import Delivery, Endpoint, Job, Watch
from relay.deliveries.rules.attempts import InFlightAttempt
from relay.provider.registry import job_queries
from relay.sending.rules.webhook import DATA_LIMIT, Ended, Message, Notice
from relay.subscribers.sql import secrets


class DueDelivery(NamedTuple):
    """A due row as the claim first sees it; `due_at` is None for a test."""

    id: str
    endpoint_id: str
    token: str | None
    attempt_count: int
    lost_count: int
    cancel_requested: int
    payload_bytes: int
    due_at: Micros | None


class ClaimedDelivery(NamedTuple):
    """A claimed delivery with all that its body and its POST are made from.

    A tuple, as it is made for every attempt; the order of its first members is that of the
    statement below. `rotations` is how often any secret had been rotated by then.
    """

    id: str
    event: str
    created_at: Micros
    subscriber_id: str
    watch_id: str | None
    query: str | None
    metadata: str | None
    content: str | None
    job_id: str | None
    job_status: str | None
    job_type: str | None
    job_code: str | None
    job_message: str | None
    job_media_id: str | None
    job_creation_time: str | None
    job_complete_time: str | None
    job_data: str | None
    job_data_is_json: int | None
    job_data_bytes: int | None
    rotations: int | None
    due: DueDelivery
    token: str
    endpoint_url: str
    headers_sealed: str | None
    cold: bool
    job_query: str | None

    @property
    def endpoint_id(self) -> str:
        """Where it goes."""
        return self.due.endpoint_id

    @property
    def number(self) -> int:
        """The attempt's number, from 1."""
        return self.due.attempt_count + 1

    @property
    def lost_count(self) -> int:
        """How many attempts in a row were lost with their process."""
        return self.due.lost_count + (self.due.token is not None)

    @property
    def payload_bytes(self) -> int:
        """About how long the body will be."""
        return self.due.payload_bytes

    @property
    def url(self) -> str:
        """The callback URL, with its query."""
        return self.endpoint_url if self.query is None else f"{self.endpoint_url}?{self.query}"

    def attempt(self, started_at: Micros) -> InFlightAttempt:
        """An attempt of this claim that begins now."""
        return InFlightAttempt(
            self.id,
            self.token,
            self.number,
            self.endpoint_id,
            self.subscriber_id,
            self.cold,
            self.payload_bytes,
            started_at,
        )

    @property
    def message(self) -> Message:
        """The content of its webhook."""
        if self.content is not None:
            return Notice(self.event, self.created_at, self.content)
        assert self.watch_id is not None
        assert self.metadata is not None
        assert self.job_id is not None
        head = (self.event, self.created_at, self.watch_id, self.metadata)
        return Ended._make((*head, *_report_of(self), self.job_query))


# From `job_id` to `data_bytes` as in `Ended`.
_report_of = itemgetter(
    slice(ClaimedDelivery._fields.index("job_id"), ClaimedDelivery._fields.index("rotations"))
)


def load(tx: Tx, taken: Sequence[DueDelivery], token: str, owners: Iterable[Any]) -> list[ClaimedDelivery]:
    """Read what the bodies of these rows are made from, without data that no body can hold.

    `owners` are their endpoints: rows with `id`, `url`, `headers_sealed` and `warmed_up`.
    """
    if not taken:
        return []
    dialect = dialect_of(tx)
    rows = tx.execute(_statement(dialect), {"ids": dialect.packed([row.id for row in taken])})
    found: dict[str, Any] = {row[0]: row for row in rows.all()}
    ends = {row.id: (token, row.url, row.headers_sealed, not row.warmed_up) for row in owners}
    queries = job_queries()
    return [
        ClaimedDelivery._make((*found[row.id], row, *ends[row.endpoint_id], queries.get(found[row.id][1])))
        for row in taken
    ]


def load_tests(tx: Tx, tests: Sequence[DueDelivery], token: str) -> list[ClaimedDelivery]:
    """The same for tests, whose endpoints may be in any state."""
    if not tests:
        return []
    columns = (Endpoint.id, Endpoint.url, Endpoint.headers_sealed, Endpoint.warmed_up)
    ids = sorted({row.endpoint_id for row in tests})
    owners = tx.execute(select(*columns).where(among(tx, Endpoint.id, ids)))
    return load(tx, tests, token, owners.all())


@cache
def _statement(dialect: Dialect) -> Any:
    return (
        select(
            Delivery.id,
            Delivery.event,
            Delivery.created_at,
            Delivery.subscriber_id,
            Delivery.watch_id,
            Watch.query,
            Watch.user_metadata,
            Delivery.content,
            Job.job_id,
            Job.status,
            Job.type,
            Job.code,
            Job.message,
            Job.media_id,
            Job.creation_time,
            Job.complete_time,
            case((Job.data_bytes <= DATA_LIMIT, Job.data), else_=null()).label("data"),
            Job.data_is_json,
            Job.data_bytes,
            secrets.rotations(),
        )
        .select_from(Delivery)
        .outerjoin(Watch, Watch.id == Delivery.watch_id)
        .outerjoin(Job, Job.id == Watch.job)
        .where(dialect.listed(Delivery.id, "ids"))
    )
