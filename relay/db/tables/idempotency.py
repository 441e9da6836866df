"""The responses stored for Idempotency-Keys."""

from sqlalchemy import BigInteger, Integer, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from relay.db.column_types import long_text
from relay.db.tables.base import HASH, Base


class IdempotentAnswer(Base):
    """The stored response to a POST with an Idempotency-Key, committed with the POST's effect."""

    __tablename__ = "idempotent_answers"

    key: Mapped[str] = mapped_column(HASH, primary_key=True)
    body_sha256: Mapped[str] = mapped_column(HASH)
    status: Mapped[int | None] = mapped_column(Integer)
    sealed: Mapped[int] = mapped_column(SmallInteger, default=0)
    answer: Mapped[str | None] = mapped_column(long_text())
    created_at: Mapped[int] = mapped_column(BigInteger, index=True)
