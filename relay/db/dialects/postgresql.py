"""PostgreSQL, by psycopg."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Text,
    any_,
    bindparam,
    func,
    literal,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.url import URL
from sqlalchemy.sql.type_api import TypeEngine

from relay.db.dialects.base import CONNECT_TIMEOUT, Dialect, ErrorKind, RowQuery, Tx

# SQLSTATEs and classes of them: connection lost, serialization failure, deadlock, statement
# time-out, server going or coming, idle too long, no disk or connections left, read-only (standby).
TRANSIENT = ("08", "40001", "40P01", "57014", "57P01", "57P02", "57P03", "25P03", "53", "25006")
LOCK_NOT_AVAILABLE = "55P03"
QUOTED_VALUE = re.compile(r"(?<=: )(['\"]).*\1", re.DOTALL)  # as in: invalid input syntax: "…"
LONGEST_TEXT = 500_000_000  # bytes; PostgreSQL itself ends at a thousand million
MIGRATION_LOCK = 7_305_911  # advisory locks are numbers; this one is used for nothing else


class PostgresqlDialect(Dialect):
    """Sends each list as one text: psycopg would write an array value by value, in Python."""

    name = "postgresql"
    driver = "postgresql+psycopg"
    parameter = "%s"
    has_partial_indexes = True

    def connect(self, url: URL, *, pool_size: int, statement_timeout: int, lock_timeout: int) -> Engine:
        """Session settings go with the connection's first packet."""
        options = (
            f"-c statement_timeout={statement_timeout * 1000} -c lock_timeout={lock_timeout * 1000}"
            f" -c idle_in_transaction_session_timeout={statement_timeout * 1000} -c timezone=UTC"
        )
        arguments = {"options": options, "connect_timeout": CONNECT_TIMEOUT, "application_name": "relay"}
        return self.engine(url, pool_size, isolation_level="READ COMMITTED", connect_args=arguments)

    def driver_error_kind(self, error: Any) -> ErrorKind | None:
        """By the SQLSTATE; where no server answered, psycopg has none."""
        state = getattr(error, "sqlstate", None)
        if state is None:
            return None
        if state == LOCK_NOT_AVAILABLE:
            return ErrorKind.LOCK_WAIT
        return ErrorKind.TRANSIENT if state.startswith(TRANSIENT) else ErrorKind.PERMANENT

    def driver_error_text(self, error: Any) -> str:
        """The primary message names the constraint; DETAIL quotes whole rows."""
        primary = getattr(getattr(error, "diag", None), "message_primary", None)
        return QUOTED_VALUE.sub("'…'", primary or str(error.args[-1]))

    def insert_if_absent(self, tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """By ON CONFLICT DO NOTHING."""
        statement = postgresql.insert(table).on_conflict_do_nothing().values(list(rows))
        return tx.execute(statement, execution_options={"preserve_rowcount": True}).rowcount

    def insert_many(
        self, tx: Tx, table: Any, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Each column is sent as one text. No value may hold NUL, which PostgreSQL refuses."""
        by_column = zip(columns, zip(*rows, strict=True), strict=True)
        values = tuple(
            _numbers(column) if _is_number(table, name) else json.dumps(column, ensure_ascii=False)
            for name, column in by_column
        )
        tx.exec_driver_sql(_insert_statement(table, columns), values)

    def among(self, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
        """By an array, so that the statement's text stays the same."""
        return cast("ColumnElement[bool]", column == any_(literal(list(values), ARRAY(column.type))))

    def listed(self, column: Any, name: str) -> ColumnElement[bool]:
        """By one text with commas."""
        values = func.string_to_array(bindparam(name, type_=Text), ",", type_=ARRAY(Text))
        return cast("ColumnElement[bool]", column == any_(values))

    def packed(self, values: Iterable[str]) -> str:
        """Ids with commas between them."""
        return ",".join(values)

    def for_each(self, tx: Tx, query: RowQuery, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """By LATERAL: one statement of one text, however many rows there are."""
        values = json.dumps([dict(zip(query.types, row, strict=True)) for row in rows])
        return list(tx.exec_driver_sql(_lateral(query), (values,)).all())

    def now(self, tx: Tx) -> int:
        """`now()` would be the transaction's beginning."""
        clock = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
        return int(tx.execute(text(clock)).scalar_one())

    def longest_text(self, tx: Tx) -> int:  # noqa: ARG002 - the same for every database
        """The limit of a value, less some space for other columns."""
        return LONGEST_TEXT

    def ascii_text(self, length: int) -> TypeEngine[str]:
        """The collation C compares bytes."""
        return postgresql.VARCHAR(length, collation="C")

    def short_text(self, length: int) -> TypeEngine[str]:
        """PostgreSQL's equality is that of bytes under its default collations."""
        return postgresql.VARCHAR(length)

    def long_text(self) -> TypeEngine[str]:
        """TEXT has no limit of its own."""
        return Text()

    @contextlib.contextmanager
    def migrating(self, connection: Connection, timeout: int) -> Iterator[None]:  # noqa: ARG002 - it is the session's
        """An advisory lock, which is released after the commit is seen."""
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK})
            yield


def _numbers(values: Iterable[int | None]) -> str:
    return ",".join(["" if value is None else str(value) for value in values])


@cache
def _is_number(table: Any, column: str) -> bool:
    return isinstance(table.__table__.c[column].type, Integer)


@cache
def _insert_statement(table: Any, columns: tuple[str, ...]) -> str:
    """Unnest the columns side by side: reading a JSON object for each row took twice as long."""
    numbers, texts = "unnest(string_to_array(%s, ',', '')::bigint[])", "json_array_elements_text(%s)"
    values = ", ".join(numbers if _is_number(table, name) else texts for name in columns)
    return f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) SELECT {values}"


@cache
def _lateral(query: RowQuery) -> str:
    one = query.text.format_map({name: f"v.{name}" for name in query.types})
    types = ", ".join(f"{name} {of}" for name, of in query.types.items())
    return (
        f"SELECT d.* FROM json_to_recordset(CAST(%s AS json)) AS v({types})"  # noqa: S608 - our own text
        f" CROSS JOIN LATERAL ({one}) AS d"
    )
