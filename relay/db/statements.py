"""Statements as each of the three databases wants them: inserts, lists of values, locks, limits, the time."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVarTuple, cast

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    Text,
    any_,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from relay.db.engine import Tx

Columns = TypeVarTuple("Columns")

MYSQL_DUPLICATE = 1062


def insert_if_absent(tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows, leaving out those that a UNIQUE key refuses; returns how many went in.

    Where another transaction is just inserting the same key, this waits for its end.
    """
    if not rows:
        return 0
    match tx.dialect.name:
        case "postgresql":
            statement: Any = postgresql.insert(table).on_conflict_do_nothing()
        case "sqlite":
            statement = sqlite.insert(table).on_conflict_do_nothing()
        case _:
            statement = insert(table).prefix_with("IGNORE")
    result = tx.execute(statement.values(list(rows)), execution_options={"preserve_rowcount": True})
    if tx.dialect.name in {"mysql", "mariadb"} and result.context.cursor.warning_count:
        _raise_ignored(tx)
    return result.rowcount


def _raise_ignored(tx: Tx) -> None:
    """IGNORE makes a warning of what else is wrong too, a missing value say; only duplicates were meant."""
    codes = {code for _, code, _ in tx.exec_driver_sql("SHOW WARNINGS")} - {MYSQL_DUPLICATE}
    if codes:
        raise IntegrityError(
            "INSERT IGNORE", None, ValueError(f"the row was refused or altered, code {codes}")
        )


def insert_rows(tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; an empty list inserts nothing (SQLAlchemy would insert a row of defaults)."""
    if rows:
        tx.execute(insert(table), list(rows))


def insert_many(tx: Tx, table: Any, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows given as tuples of these columns: what `insert_rows` does, with less work for each row.

    For columns of integers and of text. On PostgreSQL each travels as one text, so no value may
    hold NUL; it has no place for it anyway.
    """
    if not rows:
        return
    dialect = tx.dialect.name
    statement = _insert_statement(dialect, table, columns)
    if dialect == "postgresql":
        by_column = zip(columns, zip(*rows, strict=True), strict=True)
        values = tuple(
            _numbers(column) if _is_number(table, name) else json.dumps(column, ensure_ascii=False)
            for name, column in by_column
        )
        tx.exec_driver_sql(statement, values)
    else:
        tx.exec_driver_sql(statement, list(rows))


def _numbers(values: Iterable[int | None]) -> str:
    return ",".join(["" if value is None else str(value) for value in values])


@cache
def _is_number(table: Any, column: str) -> bool:
    return isinstance(table.__table__.c[column].type, Integer)


@cache
def _insert_statement(dialect: str, table: Any, columns: tuple[str, ...]) -> str:
    """PostgreSQL unnests the columns side by side: reading a JSON object for each row took twice as long."""
    if dialect == "postgresql":
        numbers, texts = "unnest(string_to_array(%s, ',', '')::bigint[])", "json_array_elements_text(%s)"
        source = "SELECT " + ", ".join(numbers if _is_number(table, name) else texts for name in columns)
    else:
        source = f"VALUES ({', '.join(('?' if dialect == 'sqlite' else '%s',) * len(columns))})"
    return f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) {source}"


def update_rows(tx: Tx, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run one UPDATE once per row of parameters; an empty list runs nothing."""
    if rows:
        tx.execute(statement, list(rows))


def among(tx: Tx, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
    """`column` is one of `values`: an array on PostgreSQL, so that the statement's text stays the same."""
    if tx.dialect.name == "postgresql":
        return cast("ColumnElement[bool]", column == any_(literal(list(values), ARRAY(column.type))))
    return cast("ColumnElement[bool]", column.in_(values))


def listed(dialect: str, column: Any, name: str) -> ColumnElement[bool]:
    """`column` is one of the texts that parameter `name` lists, as `packed` packs them.

    For statements that are built once and run often: their text does not change with the number of
    values, and one text goes to the server (an array is written value by value, in Python).
    """
    match dialect:
        case "postgresql":
            values = func.string_to_array(bindparam(name, type_=Text), ",", type_=ARRAY(Text))
            return cast("ColumnElement[bool]", column == any_(values))
        case "sqlite":
            rows = func.json_each(bindparam(name, type_=Text)).table_valued("value")
            return cast("ColumnElement[bool]", column.in_(select(rows.c.value)))
        case _:
            return cast("ColumnElement[bool]", column.in_(bindparam(name, expanding=True)))


def packed(dialect: str, values: Iterable[str]) -> Any:
    """Ids as a `listed` parameter takes them; they hold no commas."""
    match dialect:
        case "postgresql":
            return ",".join(values)
        case "sqlite":
            return json.dumps(list(values))
        case _:
            return list(values)


def lock(statement: Select[*Columns], *, skip: bool = False) -> Select[*Columns]:
    """Lock the rows read, for an update that leaves their keys alone; `skip` passes over locked ones.

    On PostgreSQL this is FOR NO KEY UPDATE, which lets others insert rows that refer to them.
    SQLite ignores it: a write transaction there is alone.
    """
    return statement.with_for_update(key_share=True, skip_locked=skip)


def longest_text(tx: Tx) -> int:
    """How many bytes of text a statement can carry: MySQL takes no packet beyond its limit, escapes too."""
    if tx.dialect.name in {"postgresql", "sqlite"}:
        return 500_000_000
    return int(tx.execute(text("SELECT @@max_allowed_packet")).scalar_one()) // 2 - 65_536


def database_now(tx: Tx) -> int:
    """The database server's clock in microseconds; SQLite has the machine's."""
    match tx.dialect.name:
        case "postgresql":
            value = tx.scalar(text("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"))
        case "sqlite":
            return time.time_ns() // 1000
        case _:
            value = tx.scalar(text("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"))
    return int(value)
