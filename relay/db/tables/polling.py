"""The state that all pollers share: the rate limiter, the poll policy and how long jobs take."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, Integer
from sqlalchemy.orm import Mapped, mapped_column

from relay.db.column_types import ascii_text, long_text, short_text
from relay.db.tables.base import ID, Base


class Upstream(Base):
    """The rate limiter of a provider, for the whole fleet, and whether it answers.

    `next_call_at` is the earliest moment of the next call (burst 1); a claim moves it in its
    transaction. `rate_factor` is the part of the rate that is used: halved by throttling (last at
    `slowed_at`), raised again by answers. `last_owner` is the owner who got the last place in a
    call that had no place for all due jobs.
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
    def constraints(cls) -> tuple[Any, ...]:
        """Throttled or not, there is some rate."""
        return (CheckConstraint("rate_factor > 0 AND rate_factor <= 1", name="rate"),)


class PollPolicy(Base):
    """How all pollers decide when a job is asked again; one of them refreshes it every ten seconds.

    `quotas` is a JSON object: owner to threshold and longest interval. `newest_job` and `new_jobs`
    (a second) measure how many jobs come.
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
