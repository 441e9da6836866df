"""Watches every transaction of a test for the order in which it locks rows (`relay.db.lock_order`).

SQLite locks no rows, so there is nothing to watch. The rows that a statement locks are read from
its result (SELECT … FOR UPDATE) or from the primary keys that it names (UPDATE, DELETE). An INSERT
counts where it waits for another transaction with the same UNIQUE key, and as a lock of the rows
that its foreign keys name, which is what MySQL makes of it.
"""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Column, Connection, Delete, Engine, Insert, Select, Table, Update, event
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.sql.operators import eq, in_op

from relay.db.lock_order import LOCK_ORDER

ORDER = [table.__tablename__ for table in LOCK_ORDER]
HELD = "locks held"  # in Connection.info

Keys = set[Any] | None
"""Primary keys of the rows that a statement locks; None where the statement does not name them."""


class Transaction:
    """The rows of ordered tables that one transaction has locked."""

    def __init__(self) -> None:
        self._held: dict[str, set[Any]] = {}

    def lock(self, table: str, keys: Keys, *, waits: bool = True, is_change: bool = False) -> str | None:
        """Note the rows that a statement locks; returns what is wrong if it may wait in a circle.

        Of rows that are not named it is believed that they are held, where any of the table are.
        """
        # Who changes a delivery holds its endpoint's lock, so nobody waits for the row itself; but
        # tests are locked by a SELECT of their own, and lie at endpoints that are not locked.
        waits = waits and not (is_change and table == "deliveries" and "endpoints" in self._held)
        held = self._held.get(table, set())
        new = keys - held if keys is not None else set() if held else {None}
        if not new:
            return None
        self._held[table] = held | new
        later = [other for other in ORDER[ORDER.index(table) + 1 :] if other in self._held]
        if waits and later:
            return f"{table} after {', '.join(later)}"
        known = {key for key in held if key is not None}
        if waits and known and None not in new and min(new) < max(known):
            return f"{table} {min(new)!r} after {max(known)!r}"
        return None


Lock = tuple[str, Keys, bool]
"""Table, keys, and whether the statement waits where another transaction has locked such a row."""


def locks_of(cursor: Any, context: Any) -> Iterable[Lock]:
    """The locks that a statement takes in ordered tables."""
    statement: Any = getattr(context.compiled, "statement", None)
    if isinstance(statement, Select) and statement._for_update_arg is not None:
        return _locks_of_select(cursor, statement)
    if isinstance(statement, Insert):
        return _locks_of_insert(context, statement)
    # Without a WHERE a test empties a table, and nobody else uses the database meanwhile.
    is_change = isinstance(statement, Update | Delete) and statement._where_criteria
    if is_change and statement.table.name in ORDER:
        return [(statement.table.name, _keys_named(context, statement), True)]
    return []


def _locks_of_select(cursor: Any, statement: Any) -> Iterator[Lock]:
    skips = bool(statement._for_update_arg.skip_locked)
    for table in {part for source in statement.get_final_froms() for part in visitors.iterate(source)}:
        if isinstance(table, Table) and table.name in ORDER:
            yield table.name, _keys_read(cursor, statement, table), not skips


def _locks_of_insert(context: Any, statement: Any) -> Iterator[Lock]:
    table = statement.table
    if table.name in ORDER:
        if statement._prefixes or statement._post_values_clause is not None:  # insert_if_absent
            yield table.name, None, True
        yield table.name, _values(context, _key(table).name), False
    for foreign in table.foreign_keys:
        keys = _values(context, foreign.parent.name)
        if keys and foreign.column.table.name in ORDER:
            yield foreign.column.table.name, keys, True


def _key(table: Table) -> Column[Any]:
    return next(iter(table.primary_key))


def _keys_read(cursor: Any, statement: Any, table: Any) -> Keys:
    """The keys in a result, which is then read again by the one who asked for it."""
    columns = list(statement.selected_columns)
    if _key(table) not in columns:
        return None
    rows = cursor.fetchall()
    if rows:
        cursor.scroll(0, "absolute")
    return {row[columns.index(_key(table))] for row in rows}


def _keys_named(context: Any, statement: Any) -> Keys:
    """The keys that a WHERE compares with the primary key."""
    names: list[str] = []
    key = _key(statement.table)
    for criterion in statement._where_criteria:
        for part in visitors.iterate(criterion):
            if (
                isinstance(part, BinaryExpression)
                and part.operator in {eq, in_op}
                and hash(part.left) == hash(key)
            ):  # ORM's is a copy
                binds = [bind for bind in visitors.iterate(part.right) if bind in context.compiled.bind_names]
                names += [context.compiled.bind_names[bind] for bind in binds]
    return _values(context, *names) if names else None


def _values(context: Any, *names: str) -> set[Any]:
    """The values of these parameters, in lists and in every row of an INSERT too."""
    found: set[Any] = set()
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, names))})(?:_m\d+)?")
    for parameters in context.compiled_parameters:
        for name, value in parameters.items():
            if value is None or not pattern.fullmatch(name):
                continue
            if isinstance(value, list | tuple):
                found.update(value)
            else:
                found.update(value.split(",") if isinstance(value, str) else [value])
    return found - {""}


@contextmanager
def watching(engine: Engine | type[Engine] = Engine) -> Iterator[list[str]]:
    """Watch an engine, or all; yields the list of locks taken out of order, with their origins."""
    wrong: list[str] = []

    def begin(connection: Connection) -> None:
        connection.info[HELD] = Transaction()

    def executed(connection: Connection, cursor: Any, text: str, *rest: Any) -> None:
        _parameters, context, _executemany = rest
        transaction = connection.info.get(HELD)
        if connection.dialect.name == "sqlite" or transaction is None:
            return
        for table, keys, waits in locks_of(cursor, context):
            change = isinstance(getattr(context.compiled, "statement", None), Update | Delete)
            fault = transaction.lock(table, keys, waits=waits, is_change=change)
            if fault is not None:
                wrong.append(f"{fault}:\n{text}\n{''.join(_origin())}")

    event.listen(engine, "begin", begin)
    event.listen(engine, "after_cursor_execute", executed)
    try:
        yield wrong
    finally:
        event.remove(engine, "begin", begin)
        event.remove(engine, "after_cursor_execute", executed)


def _origin() -> list[str]:
    """The lines of relay and of the tests that led to a statement."""
    frames = [frame for frame in traceback.extract_stack() if re.search(r"/(relay|tests)/", frame.filename)]
    return traceback.format_list(frames[:-2])
