"""The seam `Dialect`: everything in which databases differ, as one object for each database.

`dialects/__init__.py` registers the classes and refuses those that lack an abstract member. The
defaults here are portable SQL, which a new database overrides only to be faster.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, bindparam, create_engine
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql.type_api import TypeEngine

Tx = Connection

CONNECT_TIMEOUT = 5  # seconds
POOL_TIMEOUT = 5  # seconds
READ_ONLY = "relay_read_only"  # the execution option of a transaction that only reads
MOST_BRANCHES = 256  # of one UNION: SQLite takes 500


class ErrorKind(enum.Enum):
    """How a transaction reacts to an error of the database."""

    TRANSIENT = enum.auto()  # contention, or no database: run the whole transaction again
    LOCK_WAIT = enum.auto()  # the same, after waiting too long for another transaction's lock
    PERMANENT = enum.auto()  # the statement or the row is wrong


@dataclass(frozen=True, slots=True, eq=False)  # a key of caches: its identity is hashed, not its text
class RowQuery:
    """A SELECT that is run once for each of several rows of values.

    `{name}` in `text` stands for a value. `types` are the names and SQL types of the values, in the
    order in which the text has them. `finds_nothing` are values with which it is quick and empty.
    """

    text: str
    types: Mapping[str, str]
    finds_nothing: tuple[Any, ...]


class Dialect(ABC):
    """One kind of database. It has no state: there is one object of each class."""

    @property
    @abstractmethod
    def name(self) -> str:
        """SQLAlchemy's name of the dialect."""

    @property
    @abstractmethod
    def driver(self) -> str:
        """SQLAlchemy's name of dialect and driver, as in `postgresql+psycopg`."""

    @property
    @abstractmethod
    def parameter(self) -> str:
        """The mark of a parameter in the driver's own SQL: `?` or `%s`."""

    # URLs

    url_prefix = "://"  # after the scheme
    url_form = "and user:password@host:port/database"

    def is_complete(self, parts: SplitResult) -> bool:
        """Whether a URL names a database."""
        return len(parts.path) > 1

    def local_file(self, database_url: str) -> Path | None:  # noqa: ARG002 - servers have none
        """The file that holds the database; None for a server's, which machines may share."""
        return None

    # Connections and errors

    @abstractmethod
    def connect(self, url: URL, *, pool_size: int, statement_timeout: int, lock_timeout: int) -> Engine:
        """Make an engine whose sessions have the settings that every transaction relies on.

        READ COMMITTED, UTC, rows compared by their bytes, foreign keys checked; time-outs in
        seconds.
        """

    def engine(self, url: URL, pool_size: int, **options: Any) -> Engine:
        """Make an engine with the options that every database shares."""
        return create_engine(
            url,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=20,
            pool_timeout=POOL_TIMEOUT,
            **options,
        )

    def writer_lock(self) -> AbstractContextManager[Any]:
        """Make the lock of a process's writing transactions; none where rows are locked instead."""
        return nullcontext()

    def error_kind(self, error: Exception) -> ErrorKind:
        """Classify an error of SQLAlchemy's."""
        if isinstance(error, PoolTimeout | InterfaceError):
            return ErrorKind.TRANSIENT
        if not isinstance(error, DBAPIError):
            return ErrorKind.PERMANENT
        if error.connection_invalidated:
            return ErrorKind.TRANSIENT
        kind = self.driver_error_kind(error.orig)
        if kind is not None:
            return kind
        no_server = isinstance(error, OperationalError)
        return ErrorKind.TRANSIENT if no_server else ErrorKind.PERMANENT

    @abstractmethod
    def driver_error_kind(self, error: Any) -> ErrorKind | None:
        """Classify an error of the driver's by its code; None where it has no code.

        SQLAlchemy knows which errors broke the connection, and drops it.
        """

    def hide_values(self, error: Exception) -> None:
        """Remove row values from an error's text: servers quote them despite `hide_parameters`."""
        origin = getattr(error, "orig", None)
        if origin is not None and origin.args:
            origin.args = (*origin.args[:-1], self.driver_error_text(origin))
            error.args = (f"({type(origin).__name__}) {origin}",)

    @abstractmethod
    def driver_error_text(self, error: Any) -> str:
        """The text of a driver's error without any value of a row."""

    # Statements

    @abstractmethod
    def insert_if_absent(self, tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert rows, at least one, except rows that a UNIQUE key refuses.

        Returns how many were inserted. Where another transaction is just inserting the same key,
        this waits for its end. Any other fault of a row raises.
        """

    def insert_many(
        self, tx: Tx, table: Any, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert rows, at least one, given as tuples of integers and text."""
        tx.exec_driver_sql(_insert_statement(self, table, columns), list(rows))

    def among(self, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
        """`column` is one of `values`."""
        return cast("ColumnElement[bool]", column.in_(values))

    def listed(self, column: Any, name: str) -> ColumnElement[bool]:
        """`column` is one of the texts in the parameter `name`, as `packed` packs them.

        For statements that are built once and run often.
        """
        return cast("ColumnElement[bool]", column.in_(bindparam(name, expanding=True)))

    def packed(self, values: Iterable[str]) -> Any:
        """Ids as a `listed` parameter takes them; they hold no commas."""
        return list(values)

    def for_each(self, tx: Tx, query: RowQuery, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run a query once for each row of values, in few statements; returns all rows found."""
        found: list[Any] = []
        for start in range(0, len(rows), MOST_BRANCHES):
            branches = rows[start : start + MOST_BRANCHES]
            size = 1
            while size < len(branches):  # few different texts, so that prepared statements are found again
                size *= 4
            padding = query.finds_nothing * (size - len(branches))
            values = (*chain.from_iterable(branches), *padding)
            found += tx.exec_driver_sql(_union(self, query, size), values).all()
        return found

    @abstractmethod
    def now(self, tx: Tx) -> int:
        """The database's clock in microseconds since the epoch, not the transaction's beginning."""

    @abstractmethod
    def longest_text(self, tx: Tx) -> int:
        """How many bytes of text one statement can carry."""

    # Tables and migrations

    @abstractmethod
    def ascii_text(self, length: int) -> TypeEngine[str]:
        """The type of ids, hashes and states: ASCII, compared byte by byte."""

    @abstractmethod
    def short_text(self, length: int) -> TypeEngine[str]:
        """The type of names and URLs: any Unicode, compared byte by byte."""

    @abstractmethod
    def long_text(self) -> TypeEngine[str]:
        """The type of payloads: Unicode of any size."""

    def serial(self) -> TypeEngine[int]:
        """The type of a 64-bit key that counts up."""
        return BigInteger()

    @property
    @abstractmethod
    def has_partial_indexes(self) -> bool:
        """Whether SQLAlchemy's `Index` takes a `…_where` for this database."""

    @property
    def table_options(self) -> Mapping[str, str]:
        """SQLAlchemy's options of a table, such as its engine."""
        return {}

    copies_to_alter = False  # whether Alembic's batch mode has to copy a table to alter it

    @abstractmethod
    def migrating(self, connection: Connection, timeout: int) -> AbstractContextManager[None]:
        """A transaction that no other migration shares; others wait up to `timeout` seconds."""


@cache
def _insert_statement(dialect: Dialect, table: Any, columns: tuple[str, ...]) -> str:
    marks = ", ".join((dialect.parameter,) * len(columns))
    return f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names


@cache
def _union(dialect: Dialect, query: RowQuery, branches: int) -> str:
    one = query.text.format_map(dict.fromkeys(query.types, dialect.parameter))
    return " UNION ALL ".join(
        f"SELECT * FROM ({one}) AS d{index}"  # noqa: S608 - our own text
        for index in range(branches)
    )
