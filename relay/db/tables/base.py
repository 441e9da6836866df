"""The base of every table: names of constraints, types of keys, CHECKs, partial indexes."""

from typing import Any

from sqlalchemy import Index, MetaData
from sqlalchemy.orm import DeclarativeBase, declared_attr

from relay.db.column_types import ascii_text, table_options, where_set

ID = ascii_text(40)
HASH = ascii_text(64)
TOKEN = ascii_text(32)
STATE = ascii_text(16)


def one_of(column: str, states: Any) -> str:
    """The SQL of a CHECK that `column` holds one of these states."""
    return f"{column} IN ({', '.join(repr(str(state)) for state in states)})"


def open_only(name: str, *columns: str, open_column: str = "due_at") -> Index:
    """An index over the rows whose `open_column` is set: partial where the database can."""
    return Index(name, *columns, **where_set(open_column))


class Base(DeclarativeBase):
    """Names every constraint, so that a migration finds it again on any database.

    A few CHECKs and indexes keep names that the code no longer uses (`hint`, `pace`, `turn`): on
    SQLite a new name for a CHECK means copying the table.
    """

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
        return (*cls.constraints(), table_options())

    @classmethod
    def constraints(cls) -> tuple[Any, ...]:
        """The table's constraints and indexes."""
        return ()
