"""MySQL and MariaDB, by PyMySQL."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, event, insert, text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.type_api import TypeEngine

from relay.db.dialects.base import CONNECT_TIMEOUT, Dialect, ErrorKind, Tx

# Deadlock, statement time-outs (MySQL, MariaDB), read-only while failing over, too many
# connections, out of disk (two codes), shutting down, connection killed; 2000 to 2999 are the
# client's own: it lost its server or never had one.
TRANSIENT = (1213, 3024, 1969, 1290, 1040, 1021, 1114, 1053, 1927, *range(2000, 3000))
LOCK_WAIT_TIMEOUT = 1205
DUPLICATE_ENTRY = 1062
# As in: Duplicate entry '…' for key; Incorrect value: '…'.
QUOTED_VALUE = re.compile(r"'.*'(?= for (?:key|column))|(?<=: )(['\"]).*\1", re.DOTALL)
MIGRATION_LOCK = "relay migrations"


class MysqlDialect(Dialect):
    """READ COMMITTED: under the default level the gap locks of SKIP LOCKED claims block inserts."""

    name = "mysql"
    driver = "mysql+pymysql"
    parameter = "%s"
    has_partial_indexes = False
    # InnoDB: transactions, row locks and foreign keys, whatever the server's default is.
    table_options = {  # noqa: RUF012 - the base declares a Mapping
        "mysql_engine": "InnoDB",
        "mysql_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",
    }

    def connect(self, url: URL, *, pool_size: int, statement_timeout: int, lock_timeout: int) -> Engine:
        """The socket's time-outs are for servers that no longer answer."""
        engine = self.engine(
            url.update_query_dict({"charset": "utf8mb4"}),
            pool_size,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": statement_timeout + 5,
                "write_timeout": statement_timeout + 5,
            },
        )

        def prepare(connection: Any, _record: Any) -> None:
            limit = (
                f"max_statement_time={statement_timeout}"
                if "MariaDB" in connection.get_server_info()
                else f"max_execution_time={statement_timeout * 1000}"
            )
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET SESSION innodb_lock_wait_timeout={lock_timeout}, {limit}, time_zone='+00:00'"
                )

        event.listen(engine, "connect", prepare)
        return engine

    def driver_error_kind(self, error: Any) -> ErrorKind | None:
        """By the number; the SQLSTATE of a lock wait time-out says nothing (HY000)."""
        code = error.args[0] if error is not None and error.args else None
        if not isinstance(code, int):
            return None
        if code == LOCK_WAIT_TIMEOUT:
            return ErrorKind.LOCK_WAIT
        return ErrorKind.TRANSIENT if code in TRANSIENT else ErrorKind.PERMANENT

    def driver_error_text(self, error: Any) -> str:
        """The message without the values that it quotes."""
        return QUOTED_VALUE.sub("'…'", str(error.args[-1]))

    def insert_if_absent(self, tx: Tx, table: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """By IGNORE, which turns other faults into warnings too, such as a missing value."""
        statement = insert(table).prefix_with("IGNORE").values(list(rows))
        result = tx.execute(statement, execution_options={"preserve_rowcount": True})
        if result.context.cursor.warning_count:
            codes = {code for _, code, _ in tx.exec_driver_sql("SHOW WARNINGS")} - {DUPLICATE_ENTRY}
            if codes:
                refused = ValueError(f"the row was refused or altered, code {codes}")
                raise IntegrityError("INSERT IGNORE", None, refused)
        return result.rowcount

    def now(self, tx: Tx) -> int:
        """`NOW()` would be the statement's beginning."""
        clock = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"
        return int(tx.execute(text(clock)).scalar_one())

    def longest_text(self, tx: Tx) -> int:
        """The server takes no packet beyond its limit, and escapes may double a text."""
        return int(tx.execute(text("SELECT @@max_allowed_packet")).scalar_one()) // 2 - 65_536

    def ascii_text(self, length: int) -> TypeEngine[str]:
        """A byte for each letter, so that indexes are short."""
        return mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")

    def short_text(self, length: int) -> TypeEngine[str]:
        """The collation `_bin` compares bytes."""
        return mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")

    def long_text(self) -> TypeEngine[str]:
        """TEXT ends at 64 KiB."""
        return mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")

    @contextlib.contextmanager
    def migrating(self, connection: Connection, timeout: int) -> Iterator[None]:
        """A lock until the session ends: released before the commit, it would let others in."""
        name = {"name": MIGRATION_LOCK, "seconds": timeout}
        with connection.begin():
            if connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), name) != 1:
                raise RuntimeError(f"another migration has held its lock for {timeout} seconds; look at it")
        with connection.begin():
            yield
