"""SQLite: a file on one machine, with one writer at a time."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    String,
    Text,
    bindparam,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.url import URL
from sqlalchemy.sql.type_api import TypeEngine

from relay.db.dialects.base import READ_ONLY, Dialect, ErrorKind, Tx

# Busy, locked, read-only, I/O error, full, can't open, WAL lock.
TRANSIENT = (5, 6, 8, 10, 13, 14, 15)
LONGEST_TEXT = 500_000_000  # bytes; SQLite itself ends at a thousand million


class SqliteDialect(Dialect):
    """WAL, so that reads and writes go on together; FULL, so that a 201 survives power loss."""

    name = "sqlite"
    driver = "sqlite"
    parameter = "?"
    url_prefix = ":///"
    url_form = "and a file"
    has_partial_indexes = True
    copies_to_alter = True

    def is_complete(self, parts: SplitResult) -> bool:
        """A file must be named: in memory each connection would have its own database."""
        return not parts.netloc and parts.path not in {"", "/", "/:memory:"}

    def local_file(self, database_url: str) -> Path | None:
        """The path after `sqlite:///`."""
        return Path(database_url.partition(":///")[2])

    def connect(self, url: URL, *, pool_size: int, statement_timeout: int, lock_timeout: int) -> Engine:  # noqa: ARG002 - SQLite ends no statement
        """An engine that begins transactions itself; those that may write take the lock at once."""
        options = {"timeout": lock_timeout, "isolation_level": None}
        engine = self.engine(url, pool_size, connect_args=options)

        def make_private(*_arguments: object) -> None:
            """SQLite makes files that all may read; its WAL and index take this file's mode."""
            path = url.database or ":memory:"
            if path != ":memory:" and not path.startswith("file:"):
                with contextlib.suppress(OSError):  # the file exists, or connecting raises the reason
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

        def prepare(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        def begin(connection: Connection) -> None:
            read_only = connection.get_execution_options().get(READ_ONLY, False)
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

        event.listen(engine, "do_connect", make_private)
        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", begin)
        return engine

    def writer_lock(self) -> AbstractContextManager[Any]:
        """A queue for the one writer keeps p99 low: it is fair, SQLite's own busy wait is not."""
        return threading.Lock()

    def driver_error_kind(self, error: Any) -> ErrorKind | None:
        """By the primary result code, which is the last byte."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            return None
        return ErrorKind.TRANSIENT if code & 0xFF in TRANSIENT else ErrorKind.PERMANENT

    def driver_error_text(self, error: Any) -> str:
        """SQLite names columns and quotes no values."""
        return str(error.args[-1])

    def insert_if_absent(self, tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """By ON CONFLICT DO NOTHING."""
        statement = sqlite.insert(table).on_conflict_do_nothing().values(list(rows))
        return tx.execute(statement, execution_options={"preserve_rowcount": True}).rowcount

    def listed(self, column: Any, name: str) -> ColumnElement[bool]:
        """By a JSON list, so that the statement's text stays the same whatever its length is."""
        rows = func.json_each(bindparam(name, type_=Text)).table_valued("value")
        return cast("ColumnElement[bool]", column.in_(select(rows.c.value)))

    def packed(self, values: Iterable[str]) -> str:
        """Ids as a JSON list."""
        return json.dumps(list(values))

    def now(self, tx: Tx) -> int:  # noqa: ARG002 - SQLite has no clock of its own
        """The machine's clock."""
        return time.time_ns() // 1000

    def longest_text(self, tx: Tx) -> int:  # noqa: ARG002 - the same for every database
        """The limit that is compiled in, less some space for other columns."""
        return LONGEST_TEXT

    def ascii_text(self, length: int) -> TypeEngine[str]:
        """SQLite compares bytes by default."""
        return String(length)

    def short_text(self, length: int) -> TypeEngine[str]:
        """The same."""
        return String(length)

    def long_text(self) -> TypeEngine[str]:
        """TEXT has no limit of its own."""
        return Text()

    def serial(self) -> TypeEngine[int]:
        """SQLite counts only in its INTEGER, which has 64 bits."""
        return Integer()

    @contextlib.contextmanager
    def migrating(self, connection: Connection, timeout: int) -> Iterator[None]:  # noqa: ARG002 - it is the connection's
        """BEGIN IMMEDIATE locks, without foreign keys: they are checked before the commit instead.

        Batch mode copies a table and drops the old one, and with cascades on, that drop deletes
        child rows.
        """
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        with connection.begin():
            yield
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
            if broken:
                raise RuntimeError(f"the migration would leave {len(broken)} rows that refer to nothing")
