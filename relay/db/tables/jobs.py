"""The jobs of every source, each stored and polled once."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Integer, SmallInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from relay.common.states import JobStatus
from relay.db.column_types import ascii_text, long_text, serial
from relay.db.tables.base import ID, STATE, TOKEN, Base, one_of, open_only


class Job(Base):
    """One job of a source; polled once, however many watches wait for it.

    `due_at` is NULL once the job has ended, and while no watch waits for it. `token` marks a claim,
    whose lease ends at `due_at`. `missing_count` counts the answers that denied the job.
    `provider_event_at` is when a provider event last named the job, NULL once no more polls follow
    from it; `provider_event_polls` counts the polls begun since. `owner` is the subscriber of the
    earliest waiting watch, to whom the polls are charged; NULL while none waits.
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
    def constraints(cls) -> tuple[Any, ...]:
        """An ended job is never due; a claim has a lease."""
        return (
            UniqueConstraint("source", "job_id"),
            CheckConstraint(one_of("status", JobStatus), name="status"),
            CheckConstraint("(status = 'open') = (finished_at IS NULL)", name="finished"),
            CheckConstraint("status = 'open' OR due_at IS NULL", name="due"),
            CheckConstraint("token IS NULL OR due_at IS NOT NULL", name="claim"),
            CheckConstraint("(provider_event_at IS NULL) = (provider_event_polls IS NULL)", name="hint"),
            CheckConstraint("owner IS NULL OR due_at IS NOT NULL", name="owner"),
            open_only("ix_jobs_due_of_source", "source", "due_at"),
            open_only("ix_jobs_owner_of_source", "source", "owner", "due_at", open_column="owner"),
            open_only(
                "ix_jobs_provider_event", "source", "provider_event_at", open_column="provider_event_at"
            ),
        )
