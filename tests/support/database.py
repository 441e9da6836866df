"""Databases for tests: SQLite on file always, and a fresh one on every server TEST_DATABASE_URLS names."""

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


def empty(database_url: str) -> None:
    """Delete every row, and what a test may have done to the revision."""
    store = Store(database_url)
    try:
        store.write(_delete_rows)
    finally:
        store.close()


def _delete_rows(tx: Tx) -> None:
    for table in reversed(Base.metadata.sorted_tables):
        tx.execute(table.delete())
    tx.execute(text("DELETE FROM alembic_version"))
    tx.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": migrate.newest()})


def id_maker(now: Callable[[], Micros]) -> NewId:
    """Makes ids as production does."""
    return lambda prefix: make_id(prefix, now(), os.urandom(RANDOM_BYTES))
