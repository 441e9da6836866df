"""Statements of every room; where databases differ, the transaction's dialect runs them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, insert

from relay.db.dialects import Tx, dialect_of

Columns = TypeVarTuple("Columns")


def insert_if_absent(tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows, leaving out those that a UNIQUE key refuses; returns how many were inserted.

    Where another transaction is just inserting the same key, this waits for its end.
    """
    return dialect_of(tx).insert_if_absent(tx, table, rows) if rows else 0


def insert_rows(tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; an empty list inserts nothing (SQLAlchemy would insert a row of defaults)."""
    if rows:
        tx.execute(insert(table), list(rows))


def insert_many(tx: Tx, table: Any, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, tuples of integers and text: `insert_rows` with less work for each row."""
    if rows:
        dialect_of(tx).insert_many(tx, table, columns, rows)


def update_rows(tx: Tx, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run one UPDATE once per row of parameters; an empty list runs nothing."""
    if rows:
        tx.execute(statement, list(rows))


def among(tx: Tx, column: Any, values: Sequence[Any]) -> ColumnElement[bool]:
    """`column` is one of `values`, which stand in the statement."""
    return dialect_of(tx).among(column, values)


def lock(statement: Select[*Columns], *, skip: bool = False) -> Select[*Columns]:
    """Lock the rows read, for an update that keeps their keys; `skip` passes over locked rows.

    On PostgreSQL this is FOR NO KEY UPDATE, which lets others insert rows that refer to them.
    SQLite ignores it: a write transaction there is alone.
    """
    return statement.with_for_update(key_share=True, skip_locked=skip)


def longest_text(tx: Tx) -> int:
    """How many bytes of text a statement can carry."""
    return dialect_of(tx).longest_text(tx)


def database_now(tx: Tx) -> int:
    """The database's clock in microseconds; SQLite has the machine's."""
    return dialect_of(tx).now(tx)
