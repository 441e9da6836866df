"""Deliveries, where they are listed, their attempts, and bulk retries."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from relay.common.events import EVENT_LENGTH
from relay.common.states import DeliveryStatus
from relay.db.column_types import ascii_text, long_text, short_text
from relay.db.tables.base import ID, STATE, TOKEN, Base, one_of, open_only


class Delivery(Base):
    """One webhook message to one endpoint; its id is the `webhook-id`.

    `token` marks a claim, whose lease ends at `due_at`; a delivery with a live lease is in flight.
    `retry_count` counts the retries used of the schedule, which began at `schedule_started_at`.
    `lost_count` counts attempts in a row whose process died. `payload_bytes` is about how long the
    body will be, so that a claim can keep to its memory.

    A test is sent whatever its endpoint's state is: its due time is `solo_at`, and `due_at` is
    NULL. `content` is the `data` of a message that belongs to no watch.

    On PostgreSQL every change of a row makes a new entry in each index of its table, so this table
    has only indexes of open rows. By subscriber, endpoint or watch a row is found through its
    `Listing`, which has the foreign keys too.
    """

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID)
    watch_id: Mapped[str | None] = mapped_column(ID)
    endpoint_id: Mapped[str] = mapped_column(ID)
    event: Mapped[str] = mapped_column(ascii_text(EVENT_LENGTH))
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
    def constraints(cls) -> tuple[Any, ...]:
        """Only a pending delivery is due; a claim has a lease."""
        stored = [status for status in DeliveryStatus if status is not DeliveryStatus.HELD]
        return (
            CheckConstraint(one_of("status", stored), name="status"),
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
    """A delivery in the lists of its subscriber, endpoint and watch. A row never changes."""

    __tablename__ = "delivery_listings"

    delivery_id: Mapped[str] = mapped_column(
        ID, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"))
    endpoint_id: Mapped[str] = mapped_column(ID, ForeignKey("endpoints.id"))
    watch_id: Mapped[str | None] = mapped_column(ID, ForeignKey("watches.id"))

    @classmethod
    def constraints(cls) -> tuple[Any, ...]:
        """Lists are sorted by id, which sorts by time."""
        return (
            Index("ix_delivery_listings_subscriber", "subscriber_id", "delivery_id"),
            Index("ix_delivery_listings_endpoint", "endpoint_id", "delivery_id"),
            open_only("ix_delivery_listings_watch", "watch_id", "delivery_id", open_column="watch_id"),
        )


class Attempt(Base):
    """One HTTP POST of a delivery and its result; `number` is the claim's `attempt_count`.

    No foreign key guards `delivery_id`: it was half of an insert's cost. The transaction that
    inserts an attempt changes its delivery too, and pruning deletes both.
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


class BulkRetry(Base):
    """An order to send all matching deliveries again, processed in batches by id.

    It takes deliveries that had ended when the order was given, so a delivery that fails again
    meanwhile is not taken twice. `after_id` is the last id processed; `due_at` is when the order
    was last worked on, NULL once it is done.
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
    def constraints(cls) -> tuple[Any, ...]:
        """Open orders are found by `due_at`."""
        return (open_only("ix_bulk_retries_due", "due_at"),)
