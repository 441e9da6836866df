"""Every table, its indexes and the rows that the database refuses.

Times are BIGINT microseconds. Ids, hashes, states and tokens are ASCII compared byte by byte, so
that `abC1` and `ABc1` are two jobs on every database. A row that is finished has `due_at` NULL: the
indexes of claims hold only what is open (partial where the database can).
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from relay.common.states import DeliveryStatus, EndpointStatus, Event, JobStatus, WatchStatus
from relay.db.column_types import ascii_text, long_text, serial, short_text, table_options, where_set

ID = ascii_text(40)
HASH = ascii_text(64)
TOKEN = ascii_text(32)
STATE = ascii_text(16)


def one_of(column: str, states: Any) -> str:
    """The SQL of a CHECK that `column` holds one of these states."""
    return f"{column} IN ({', '.join(repr(str(state)) for state in states)})"


def open_only(name: str, *columns: str, open_column: str = "due_at") -> Index:
    """An index over rows whose `open_column` is set: partial where the database has that."""
    return Index(name, *columns, **where_set(open_column))


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can find it again on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> Any:
        return (*cls.rules(), table_options())

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """The table's constraints and indexes."""
        return ()


class Subscriber(Base):
    """A service that calls the API."""

    __tablename__ = "subscribers"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(short_text(100), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    disabled_at: Mapped[int | None] = mapped_column(BigInteger)


class ApiKey(Base):
    """A subscriber's key, known only by its hash; `key_prefix` is its first letters, for people."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"), index=True)
    sha256: Mapped[str] = mapped_column(HASH, unique=True)
    key_prefix: Mapped[str] = mapped_column(ascii_text(16))
    created_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class Endpoint(Base):
    """A callback URL of a subscriber: the unit of pace, health and pause.

    `ready_at` says when it may send next: NULL when there is nothing to do, or it is paused,
    disabled or deleted. It is never later than the first moment at which something could be done.
    `not_before` (its rate) and `open_until` (its circuit) hold it back. `concurrency_limit` is how
    many may be in flight now (slow start); `warmed_up` is 0 until it has answered, and again after
    a run of failures. `opened_at` and `probe_count` belong to an open circuit; while it is open,
    what waits counts from `blocked_since`, which outlives recoveries of less than an hour
    (`endpoints.rules.circuit_breaker`). What was due before `recovered_at` is its backlog.
    `held_at` is when it was paused or disabled. `notices` marks where the subscriber wants to hear
    of its other endpoints; `notice_at` says that it is still to be told of this one's end.
    """

    __tablename__ = "endpoints"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"))
    url: Mapped[str] = mapped_column(short_text(2048))
    url_key: Mapped[str | None] = mapped_column(HASH)
    description: Mapped[str | None] = mapped_column(short_text(500))
    headers_sealed: Mapped[str | None] = mapped_column(long_text())
    status: Mapped[str] = mapped_column(STATE)
    disabled_reason: Mapped[str | None] = mapped_column(ascii_text(40))
    max_in_flight: Mapped[int] = mapped_column(Integer)
    rate_per_second: Mapped[float | None] = mapped_column(Double)
    ready_at: Mapped[int | None] = mapped_column(BigInteger)
    not_before: Mapped[int] = mapped_column(BigInteger, default=0)
    warmed_up: Mapped[int] = mapped_column(SmallInteger, default=0)
    concurrency_limit: Mapped[int] = mapped_column(Integer, default=1)
    failure_streak: Mapped[int] = mapped_column(Integer, default=0)
    failing_since: Mapped[int | None] = mapped_column(BigInteger)
    opened_at: Mapped[int | None] = mapped_column(BigInteger)
    blocked_since: Mapped[int | None] = mapped_column(BigInteger)
    open_until: Mapped[int] = mapped_column(BigInteger, default=0)
    probe_count: Mapped[int] = mapped_column(Integer, default=0)
    recovered_at: Mapped[int | None] = mapped_column(BigInteger)
    held_at: Mapped[int | None] = mapped_column(BigInteger)
    notices: Mapped[int] = mapped_column(SmallInteger, default=0)
    notice_at: Mapped[int | None] = mapped_column(BigInteger)
    last_error: Mapped[str | None] = mapped_column(short_text(500))
    created_at: Mapped[int] = mapped_column(BigInteger)
    deleted_at: Mapped[int | None] = mapped_column(BigInteger)

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """Ready only while active; one endpoint per URL and subscriber; a deleted one frees its URL."""
        return (
            UniqueConstraint("subscriber_id", "url_key"),
            CheckConstraint(one_of("status", EndpointStatus), name="status"),
            CheckConstraint("ready_at IS NULL OR (status = 'active' AND deleted_at IS NULL)", name="ready"),
            CheckConstraint("(deleted_at IS NULL) = (url_key IS NOT NULL)", name="deleted"),
            CheckConstraint("(status = 'active') = (held_at IS NULL)", name="held"),
            CheckConstraint("concurrency_limit >= 1 AND max_in_flight >= 1", name="pace"),
            Index("ix_endpoints_list", "subscriber_id", "id"),
            open_only("ix_endpoints_ready", "warmed_up", "ready_at", open_column="ready_at"),
            open_only("ix_endpoints_turn", "subscriber_id", "warmed_up", "ready_at", open_column="ready_at"),
            open_only("ix_endpoints_notice", "notice_at", open_column="notice_at"),
            open_only("ix_endpoints_held", "held_at", open_column="held_at"),
        )


class SigningSecret(Base):
    """A sealed `whsec_` secret: an endpoint's own, or the subscriber's where `endpoint_id` is NULL.

    Those with `expires_at` NULL are current; the others sign beside it until then.
    """

    __tablename__ = "signing_secrets"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"), index=True)
    endpoint_id: Mapped[str | None] = mapped_column(ID, ForeignKey("endpoints.id"), index=True)
    sealed: Mapped[str] = mapped_column(long_text())
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)


class Job(Base):
    """One AI job at the provider; polled once, however many watch it.

    `due_at` is NULL once it has ended or while nobody waits for it. `token` marks a claim, whose
    lease ends at `due_at`. `missing_count` counts the answers that said it does not exist.
    `provider_event_at` is when VOD last said that it may have ended, NULL once that is used up;
    `provider_event_polls` counts the polls begun since. `owner` is the subscriber of the earliest
    watch that waits, to whom its polls are charged; NULL while nobody waits.
    """

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(serial(), primary_key=True, autoincrement=True)
    source: Mapped[str] = mapped_column(ascii_text(32))
    job_id: Mapped[str] = mapped_column(ascii_text(64))
    status: Mapped[str] = mapped_column(STATE)
    type: Mapped[str | None] = mapped_column(long_text())
    code: Mapped[str | None] = mapped_column(long_text())
    message: Mapped[str | None] = mapped_column(long_text())
    media_id: Mapped[str | None] = mapped_column(long_text())
    creation_time: Mapped[str | None] = mapped_column(long_text())
    complete_time: Mapped[str | None] = mapped_column(long_text())
    data: Mapped[str | None] = mapped_column(long_text())
    data_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    data_is_json: Mapped[int] = mapped_column(SmallInteger, default=0)
    owner: Mapped[str | None] = mapped_column(ID)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    token: Mapped[str | None] = mapped_column(TOKEN)
    attempt_count: Mapped[int] = mapped_column(Integer, default=0)
    lost_count: Mapped[int] = mapped_column(Integer, default=0)
    missing_count: Mapped[int] = mapped_column(Integer, default=0)
    polled_at: Mapped[int | None] = mapped_column(BigInteger)
    provider_event_at: Mapped[int | None] = mapped_column(BigInteger)
    provider_event_polls: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """An ended job is never due; a claim has a lease."""
        return (
            UniqueConstraint("source", "job_id"),
            CheckConstraint(one_of("status", JobStatus), name="status"),
            CheckConstraint("(status = 'open') = (finished_at IS NULL)", name="finished"),
            CheckConstraint("status = 'open' OR due_at IS NULL", name="due"),
            CheckConstraint("token IS NULL OR due_at IS NOT NULL", name="claim"),
            CheckConstraint("(provider_event_at IS NULL) = (provider_event_polls IS NULL)", name="hint"),
            CheckConstraint("owner IS NULL OR due_at IS NOT NULL", name="owner"),
            open_only("ix_jobs_due", "due_at"),
            open_only("ix_jobs_owner", "owner", "due_at", open_column="owner"),
            open_only("ix_jobs_hinted", "provider_event_at", open_column="provider_event_at"),
        )


class Watch(Base):
    """Tell this endpoint when this job ends.

    `query` is what the callback URL had after its `?`. `waiting_key` is the hash of what makes two
    watches equal; it stands only while the watch waits. `missing_base` is the job's `missing_count`
    at registration.
    """

    __tablename__ = "watches"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"))
    job: Mapped[int] = mapped_column(serial(), ForeignKey("jobs.id"))
    endpoint_id: Mapped[str] = mapped_column(ID, ForeignKey("endpoints.id"))
    query: Mapped[str | None] = mapped_column(short_text(2048))
    events: Mapped[str] = mapped_column(ascii_text(100))
    user_metadata: Mapped[str] = mapped_column(long_text())
    status: Mapped[str] = mapped_column(STATE)
    waiting_key: Mapped[str | None] = mapped_column(HASH, unique=True)
    missing_base: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """`due_at` is the deadline of a watch that waits, and NULL once it has ended."""
        return (
            CheckConstraint(one_of("status", WatchStatus), name="status"),
            CheckConstraint("(status = 'waiting') = (due_at IS NOT NULL)", name="due"),
            CheckConstraint("(status = 'waiting') = (waiting_key IS NOT NULL)", name="waiting"),
            CheckConstraint("(status = 'waiting') = (finished_at IS NULL)", name="finished"),
            Index("ix_watches_job", "job", "due_at"),
            Index("ix_watches_endpoint", "endpoint_id", "id"),
            Index("ix_watches_list", "subscriber_id", "id"),
            open_only("ix_watches_waiting", "subscriber_id", "due_at"),
            open_only("ix_watches_due", "due_at"),
        )


class Delivery(Base):
    """One webhook message to one endpoint; its id is the `webhook-id`.

    `token` marks a claim, whose lease ends at `due_at`; in flight is what has a live lease.
    `retry_count` counts the retries used of the schedule, which began at `schedule_started_at`.
    `lost_count` counts attempts in a row whose process died. `payload_bytes` is about how long the
    body will be, so that a claim can keep to its memory.

    A test is sent by itself, whatever its endpoint's state: its due time is `solo_at`, and `due_at`
    is NULL. `content` is the `data` of a message that does not tell of a watch.

    On PostgreSQL every move of a row makes a new entry in each index of its table, so this one has
    only those of what is open. By subscriber, endpoint or watch a row is found through its
    `Listing`, which has the foreign keys too.
    """

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID)
    watch_id: Mapped[str | None] = mapped_column(ID)
    endpoint_id: Mapped[str] = mapped_column(ID)
    event: Mapped[str] = mapped_column(ascii_text(32))
    status: Mapped[str] = mapped_column(STATE)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    solo_at: Mapped[int | None] = mapped_column(BigInteger)
    token: Mapped[str | None] = mapped_column(TOKEN)
    attempt_count: Mapped[int] = mapped_column(Integer, default=0)
    lost_count: Mapped[int] = mapped_column(Integer, default=0)
    schedule_started_at: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[str | None] = mapped_column(long_text())
    retry_count: Mapped[int] = mapped_column(Integer, default=0)
    cancel_requested: Mapped[int] = mapped_column(SmallInteger, default=0)
    payload_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    last_error: Mapped[str | None] = mapped_column(short_text(500))
    created_at: Mapped[int] = mapped_column(BigInteger)
    delivered_at: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """Only a pending delivery is due; a claim has a lease."""
        stored = [status for status in DeliveryStatus if status is not DeliveryStatus.HELD]
        return (
            CheckConstraint(one_of("status", stored), name="status"),
            CheckConstraint(one_of("event", Event), name="event"),
            CheckConstraint("(status = 'pending') = (due_at IS NOT NULL OR solo_at IS NOT NULL)", name="due"),
            CheckConstraint("due_at IS NULL OR solo_at IS NULL", name="solo"),
            CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished"),
            CheckConstraint("(status = 'delivered') <= (delivered_at IS NOT NULL)", name="delivered"),
            CheckConstraint("token IS NULL OR status = 'pending'", name="claim"),
            open_only("ix_deliveries_due", "endpoint_id", "due_at"),
            open_only("ix_deliveries_solo", "solo_at", open_column="solo_at"),
            open_only("ix_deliveries_claimed", "endpoint_id", "token", open_column="token"),
        )


class Listing(Base):
    """Where a delivery is listed: whose it is, where it goes, of which watch. A row never changes."""

    __tablename__ = "delivery_listings"

    delivery_id: Mapped[str] = mapped_column(
        ID, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"))
    endpoint_id: Mapped[str] = mapped_column(ID, ForeignKey("endpoints.id"))
    watch_id: Mapped[str | None] = mapped_column(ID, ForeignKey("watches.id"))

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """Lists go by id, which is by time."""
        return (
            Index("ix_delivery_listings_subscriber", "subscriber_id", "delivery_id"),
            Index("ix_delivery_listings_endpoint", "endpoint_id", "delivery_id"),
            open_only("ix_delivery_listings_watch", "watch_id", "delivery_id", open_column="watch_id"),
        )


class BulkRetry(Base):
    """An order to send again all deliveries that match, worked off in batches by id.

    It takes those that had ended when it was given, so what fails anew meanwhile is not taken
    twice. `after_id` is how far it has come; `due_at` is when it was last worked on, NULL once it
    is done.
    """

    __tablename__ = "bulk_retries"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"), index=True)
    status: Mapped[str] = mapped_column(STATE)
    endpoint_id: Mapped[str | None] = mapped_column(ID)
    to_id: Mapped[str] = mapped_column(ID)
    after_id: Mapped[str] = mapped_column(ID)
    retried: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """Those to be worked on are found by `due_at`."""
        return (open_only("ix_bulk_retries_due", "due_at"),)


class Attempt(Base):
    """One HTTP POST of a delivery and what came of it; `number` is the claim's `attempt_count`.

    No foreign key guards `delivery_id`: it made up half of an insert's cost. Whoever inserts
    changes the delivery in the same transaction, and pruning deletes both.
    """

    __tablename__ = "attempts"

    delivery_id: Mapped[str] = mapped_column(ID, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(ID)
    started_at: Mapped[int] = mapped_column(BigInteger)
    duration: Mapped[int | None] = mapped_column(BigInteger)
    status_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(ascii_text(32))
    detail: Mapped[str | None] = mapped_column(short_text(500))
    response_body: Mapped[str | None] = mapped_column(long_text())


class IdempotentAnswer(Base):
    """The answer to a POST that carried an Idempotency-Key, kept with the effect it had."""

    __tablename__ = "idempotent_answers"

    key: Mapped[str] = mapped_column(HASH, primary_key=True)
    body_sha256: Mapped[str] = mapped_column(HASH)
    status: Mapped[int | None] = mapped_column(Integer)
    sealed: Mapped[int] = mapped_column(SmallInteger, default=0)
    answer: Mapped[str | None] = mapped_column(long_text())
    created_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Upstream(Base):
    """The provider as the whole fleet sees it: the call budget and whether it answers.

    `next_call_at` is the earliest moment of the next call (burst 1); a claim moves it in its
    transaction. `rate_factor` is the part of the rate that is used: halved by throttling (last at
    `slowed_at`), raised step by step. `last_owner` is the owner who got the last place in a call
    that had no place for all that were due.
    """

    __tablename__ = "upstreams"

    source: Mapped[str] = mapped_column(ascii_text(32), primary_key=True)
    next_call_at: Mapped[int] = mapped_column(BigInteger, default=0)
    rate_factor: Mapped[float] = mapped_column(Double, default=1.0)
    slowed_at: Mapped[int] = mapped_column(BigInteger, default=0)
    last_owner: Mapped[str] = mapped_column(ID, default="")
    failure_streak: Mapped[int] = mapped_column(Integer, default=0)
    failed_at: Mapped[int] = mapped_column(BigInteger, default=0)
    down_since: Mapped[int | None] = mapped_column(BigInteger)
    error_code: Mapped[str | None] = mapped_column(short_text(200))
    error_detail: Mapped[str | None] = mapped_column(short_text(500))
    answered_at: Mapped[int | None] = mapped_column(BigInteger)

    @classmethod
    def rules(cls) -> tuple[Any, ...]:
        """Throttled or not, there is some rate."""
        return (CheckConstraint("rate_factor > 0 AND rate_factor <= 1", name="rate"),)


class PollPolicy(Base):
    """By what all pollers choose when a job is asked again; one of them refreshes it every ten seconds.

    `quotas` is a JSON object: owner to gain and longest gap. `newest_job` and `new_jobs` (a second)
    measure how many jobs come.
    """

    __tablename__ = "poll_policies"

    source: Mapped[str] = mapped_column(ascii_text(32), primary_key=True)
    refreshed_at: Mapped[int] = mapped_column(BigInteger)
    newest_job: Mapped[int] = mapped_column(BigInteger)
    new_jobs: Mapped[float] = mapped_column(Double)
    quotas: Mapped[str] = mapped_column(long_text())


class JobType(Base):
    """How long jobs of a type took: a JSON list of seconds, the newest last."""

    __tablename__ = "job_types"

    source: Mapped[str] = mapped_column(ascii_text(32), primary_key=True)
    name: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    durations: Mapped[str] = mapped_column(long_text())


class Counter(Base):
    """Totals of what the fleet's processes have done, so that any web process can show them.

    One is more than shown: by the number of rotations (`secrets.ROTATIONS`) dispatchers notice
    them.
    """

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    label: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
