"""Totals of the fleet."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from relay.db.column_types import ascii_text
from relay.db.tables.base import Base


class Counter(Base):
    """Totals of all processes, so that any web process can show them.

    The number of rotations (`secrets.ROTATIONS`) is not shown: it makes dispatchers read signing
    secrets again.
    """

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    label: Mapped[str] = mapped_column(ascii_text(64), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
