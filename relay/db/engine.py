"""Connections and transactions.

How the three databases differ is known here, in `statements` and in `column_types`, and nowhere
else.

A transaction is one function of a `Tx`, run by `Store.write` or `Store.read` and retried as a whole
when the database says that trying again is right: deadlock, serialization failure, lock wait, busy,
lost connection. So such a function must be safe to run again after a commit whose answer was lost:
settles are guarded by their token, registrations by their unique keys.
"""

import contextlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay.common.errors import StoreUnavailable

Tx = Connection
P = ParamSpec("P")
T = TypeVar("T")

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
STATEMENT_TIMEOUT = 30  # seconds; the longest statement is a batch of a few thousand rows
LOCK_TIMEOUT = 5  # seconds; transactions are short, so a longer wait is a fault
CONNECT_TIMEOUT = 5  # seconds
READ_ONLY = "relay_read_only"

# SQLSTATEs and classes of them: connection lost, serialization failure, deadlock, lock not
# available, statement time-out, server going or coming, idle too long, no disk or connections left,
# read-only (standby).
POSTGRES_AGAIN = ("08", "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "25P03", "53", "25006")
# Lock wait time-out, deadlock, statement time-outs (MySQL, MariaDB), read-only while failing over,
# too many connections, out of disk (two codes), shutting down, connection killed; 2000 to 2999 are
# the client's own: it lost its server or never had one.
MYSQL_AGAIN = (1205, 1213, 3024, 1969, 1290, 1040, 1021, 1114, 1053, 1927, *range(2000, 3000))
LOCK_WAITS = ("55P03", 1205)  # lock_not_available (PostgreSQL), ER_LOCK_WAIT_TIMEOUT (MySQL, MariaDB)
# Busy, locked, read-only, I/O error, full, can't open, WAL lock.
SQLITE_AGAIN = (5, 6, 8, 10, 13, 14, 15)
# Where messages quote values: "Duplicate entry '…' for key", "Incorrect value: '…'", "invalid
# input: \"…\"".
QUOTED_VALUE = re.compile(r"'.*'(?= for (?:key|column))|(?<=: )(['\"]).*\1", re.DOTALL)


def driver_url(database_url: str) -> URL:
    """The URL as our drivers want it; `postgres://` and `mariadb://` are accepted as they are in use."""
    url = make_url(database_url)
    return url.set(drivername=DRIVERS[url.get_backend_name()])


def connect(
    database_url: str,
    *,
    pool_size: int = 5,
    statement_timeout: int = STATEMENT_TIMEOUT,
    lock_timeout: int = LOCK_TIMEOUT,
) -> Engine:
    """An engine with the session settings that every transaction of ours relies on; time-outs in seconds."""
    url = driver_url(database_url)
    match url.get_backend_name():
        case "sqlite":
            return _connect_sqlite(url, pool_size, lock_timeout)
        case "postgresql":
            return _connect_postgresql(url, pool_size, statement_timeout, lock_timeout)
        case _:
            return _connect_mysql(url, pool_size, statement_timeout, lock_timeout)


def _connect_sqlite(url: URL, pool_size: int, lock_timeout: int) -> Engine:
    """WAL, so that readers and the writer do not stop each other; FULL, so that a 201 survives power loss."""
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=20,
        pool_timeout=LOCK_TIMEOUT,
        connect_args={"timeout": lock_timeout, "isolation_level": None},
    )

    def make_private(*_arguments: object) -> None:
        """SQLite makes files that everybody may read; its others take this one's mode."""
        path = url.database or ":memory:"
        if path != ":memory:" and not path.startswith("file:"):
            with contextlib.suppress(OSError):  # it is there, or the connection will say what is wrong
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


def _connect_postgresql(url: URL, pool_size: int, statement_timeout: int, lock_timeout: int) -> Engine:
    options = (
        f"-c statement_timeout={statement_timeout * 1000} -c lock_timeout={lock_timeout * 1000}"
        f" -c idle_in_transaction_session_timeout={statement_timeout * 1000} -c timezone=UTC"
    )
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=20,
        pool_timeout=LOCK_TIMEOUT,
        isolation_level="READ COMMITTED",
        connect_args={"options": options, "connect_timeout": CONNECT_TIMEOUT, "application_name": "relay"},
    )


def _connect_mysql(url: URL, pool_size: int, statement_timeout: int, lock_timeout: int) -> Engine:
    """READ COMMITTED: under the default level a SKIP LOCKED claim blocks inserts by its gap locks."""
    engine = create_engine(
        url.update_query_dict({"charset": "utf8mb4"}),
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=20,
        pool_timeout=LOCK_TIMEOUT,
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


class Store:
    """Runs transactions; one that keeps failing for `patience` seconds ends in StoreUnavailable."""

    def __init__(self, database_url: str, *, pool_size: int = 5, retry_timeout: float = 10.0) -> None:
        self.engine = connect(database_url, pool_size=pool_size)
        self.dialect = self.engine.dialect.name
        self._retry_timeout = retry_timeout
        # SQLite has one writer: queueing for it here is fair and keeps p99 low, its own busy wait
        # is not.
        self._one_writer = threading.Lock() if self.dialect == "sqlite" else contextlib.nullcontext()

    def write(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one read-write transaction; commit when it returns, roll back when it raises."""
        return self._run(self._writing, work, *args, **kwargs)

    def write_once(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` as `write` does, but never again once its commit may have happened.

        For what nothing in the database guards against a second run: then the caller must say
        whether to try again. Raises StoreUnavailable there.
        """
        returned = False

        def once(tx: Tx) -> T:
            nonlocal returned
            if returned:
                raise StoreUnavailable("the database broke while it saved this; look whether it is there")
            result = work(tx, *args, **kwargs)
            returned = True
            return result

        return self._run(self._writing, once)

    def read(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one transaction that only reads; on SQLite it takes no write lock."""
        return self._run(self._reading, work, *args, **kwargs)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def _run(
        self,
        transaction: Callable[[], contextlib.AbstractContextManager[Tx]],
        work: Callable[Concatenate[Tx, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        give_up_at = time.monotonic() + self._retry_timeout
        pause = 0.005
        while True:
            try:
                with transaction() as tx:
                    return work(tx, *args, **kwargs)
            except (DBAPIError, PoolTimeout) as error:
                if not should_retry(error):
                    hide_values(error)
                    raise
                if time.monotonic() + pause > give_up_at:
                    raise StoreUnavailable(sentence_of(error)) from error
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, guards nothing
            pause = min(pause * 2, 0.5)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Tx]:
        with self._one_writer, self.engine.begin() as tx:
            yield tx

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Tx]:
        with self.engine.connect().execution_options(**{READ_ONLY: True}) as tx, tx.begin():
            yield tx


def should_retry(error: DBAPIError | PoolTimeout) -> bool:
    """Whether running the whole transaction again may help: contention, or a database that is away."""
    if isinstance(error, PoolTimeout | InterfaceError) or error.connection_invalidated:
        return True
    origin = error.orig
    code = origin.args[0] if origin is not None and origin.args else None
    if isinstance(code, int):  # before the SQLSTATE, which PyMySQL has too: HY000 for a lock wait time-out
        return code in MYSQL_AGAIN
    sqlite_code = getattr(origin, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return sqlite_code & 0xFF in SQLITE_AGAIN
    state = getattr(origin, "sqlstate", None)
    if state is not None:
        return bool(state.startswith(POSTGRES_AGAIN))
    return isinstance(error, OperationalError)  # psycopg without a SQLSTATE: no server answered


def waited_for_a_lock(error: DBAPIError) -> bool:
    """Whether a statement waited for another transaction's lock for as long as it may."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return getattr(error.orig, "sqlstate", None) in LOCK_WAITS or code in LOCK_WAITS


def hide_values(error: DBAPIError | PoolTimeout) -> None:
    """Take the row's values, which servers quote whatever `hide_parameters` says, out of an error's text."""
    origin = getattr(error, "orig", None)
    if origin is None or not origin.args:
        return
    # PostgreSQL quotes whole rows in DETAIL; its primary message names the constraint and is
    # enough.
    *code, said = origin.args
    text_ = getattr(getattr(origin, "diag", None), "message_primary", None) or str(said)
    origin.args = (*code, QUOTED_VALUE.sub("'…'", text_))
    error.args = (f"({type(origin).__name__}) {origin}",)


def sentence_of(error: Exception) -> str:
    """A sentence about a database that can't be used, without statements, parameters or addresses."""
    origin = getattr(error, "orig", None)
    kind = type(origin or error).__name__
    return f"the database can't be used right now ({kind}); nothing was changed, try again"
