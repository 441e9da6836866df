"""Databases for tests: SQLite files always, and a new one on each server of TEST_DATABASE_URLS."""

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import create_engine, text

from relay.common.ids import RANDOM_BYTES, NewId, make_id
from relay.common.time import Micros
from relay.db import migrate
from relay.db.dialects import driver_url
from relay.db.engine import Store, Tx
from relay.db.tables import Base

SERVERS = [url for url in re.split(r"[\s,]+", os.environ.get("TEST_DATABASE_URLS", "")) if url]
KINDS = ["sqlite", *(driver_url(url).get_backend_name() for url in SERVERS)]


@contextlib.contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty, migrated database of this kind, gone afterwards."""
    with empty_database(kind, folder) as url:
        migrate.upgrade(url)
        yield url


@contextlib.contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of this kind, gone afterwards."""
    name = f"relay_test_{os.getpid()}_{secrets.token_hex(4)}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.db"
        return
    server = next(url for url in SERVERS if driver_url(url).get_backend_name() == kind)
    admin = create_engine(driver_url(server), isolation_level="AUTOCOMMIT")
    force = " WITH (FORCE)" if kind == "postgresql" else ""
    try:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield driver_url(server).set(drivername=kind, database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name}{force}"))
        admin.dispose()


@contextlib.contextmanager
def fresh_store(kind: str, folder: Path) -> Iterator[Store]:
    """The store of an empty, migrated database of this kind, gone afterwards."""
    with fresh_database(kind, folder) as url:
        store = Store(url)
        yield store
        store.close()


class Databases:
    """The databases that the tests of one worker share, each made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, str], str] = {}
        self._stack = contextlib.ExitStack()
        self.close = self._stack.close

    def url(self, kind: str, purpose: str) -> str:
        key = (kind, purpose)
        if key not in self._made:
            folder = self._folder / f"{kind}-{purpose}"
            folder.mkdir()
            self._made[key] = self._stack.enter_context(fresh_database(kind, folder))
        return self._made[key]


def empty(store: Store) -> Store:
    """Delete every row, and what a test may have done to the revision."""
    store.write(_delete_rows)
    return store


def _delete_rows(tx: Tx) -> None:
    for table in reversed(Base.metadata.sorted_tables):
        tx.execute(table.delete())
    tx.execute(text("DELETE FROM alembic_version"))
    tx.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": migrate.newest()})


def id_maker(now: Callable[[], Micros]) -> NewId:
    """Makes ids as production does."""
    return lambda prefix: make_id(prefix, now(), os.urandom(RANDOM_BYTES))
