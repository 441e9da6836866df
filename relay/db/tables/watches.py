"""Watches: which endpoint waits for which job."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from relay.common.events import EVENTS_LENGTH
from relay.common.states import WatchStatus
from relay.db.column_types import ascii_text, long_text, serial, short_text
from relay.db.tables.base import HASH, ID, STATE, Base, one_of, open_only


class Watch(Base):
    """A webhook to this endpoint when this job ends.

    `query` is the part of the callback URL after its `?`. `waiting_key` is the same hash
    for equal watches, set while the watch waits. `missing_base` is the job's `missing_count` at
    registration.
    """

    __tablename__ = "watches"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"))
    job: Mapped[int] = mapped_column(serial(), ForeignKey("jobs.id"))
    endpoint_id: Mapped[str] = mapped_column(ID, ForeignKey("endpoints.id"))
    query: Mapped[str | None] = mapped_column(short_text(2048))
    events: Mapped[str] = mapped_column(ascii_text(EVENTS_LENGTH))
    user_metadata: Mapped[str] = mapped_column(long_text())
    status: Mapped[str] = mapped_column(STATE)
    waiting_key: Mapped[str | None] = mapped_column(HASH, unique=True)
    missing_base: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)

    @classmethod
    def constraints(cls) -> tuple[Any, ...]:
        """`due_at` is the deadline of a waiting watch, and NULL once it has ended."""
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
