"""Endpoints: where webhooks are sent, and the state of each one's circuit breaker."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from relay.common.states import EndpointStatus
from relay.db.column_types import ascii_text, long_text, short_text
from relay.db.tables.base import HASH, ID, STATE, Base, one_of, open_only


class Endpoint(Base):
    """A callback URL of a subscriber: paused, limited and disabled as a whole.

    `ready_at` is never later than the first moment at which something could be sent; it is NULL
    when nothing is pending, and while the endpoint is paused, disabled or deleted. `not_before`
    (from its rate) and `open_until` (from its circuit) delay it.

    `concurrency_limit` is how many deliveries may be in flight now (slow start). `warmed_up` is 0
    until the endpoint has answered, and again after a run of failures. `opened_at` and
    `probe_count` belong to an open circuit. The wait of its deliveries counts from `blocked_since`,
    which outlives recoveries of less than an hour (`endpoints.rules.circuit_breaker`). Deliveries
    due before `recovered_at` are its backlog.

    `held_at` is when it was paused or disabled. `notices` is 1 where the subscriber wants the
    notices about other endpoints; `notice_at` is set while the notice about this one is pending.
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
    def constraints(cls) -> tuple[Any, ...]:
        """Ready only while active; unique per URL and subscriber, until deleted."""
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
