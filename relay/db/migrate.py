"""Migrations: upgrade a database, check its revision, compare it with the code's tables."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from relay.db.dialects import Tx, connect, dialect_of
from relay.db.tables import Base

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
TIMEOUT = 3600  # seconds, of one statement and of the wait for another migration: big tables take long


def upgrade(database_url: str) -> tuple[str | None, str]:
    """Migrate to the newest revision; returns the revisions before and after.

    Several processes may do this at once: the first migrates, the others wait and find nothing to
    do.
    """
    with _alone(database_url) as connection:
        before = _revision(connection)
        command.upgrade(_config(connection), "head")
        return before, newest()


def is_current(tx: Tx) -> bool:
    """Whether the database is at the newest revision this code knows."""
    return _revision(tx) == newest()


def newest() -> str:
    """The newest revision in `migrations/`."""
    return str(ScriptDirectory(str(MIGRATIONS)).get_current_head())


def check_on_scratch() -> list[Any]:
    """Migrate an empty SQLite database and return its differences from the tables."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/scratch.db"
        upgrade(url)
        return differences(url)


def differences(database_url: str) -> list[Any]:
    """The differences between a migrated database and the code's tables; empty when they match."""
    with _alone(database_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@contextlib.contextmanager
def _alone(database_url: str) -> Iterator[Connection]:
    """A connection with a transaction that no other migration shares."""
    engine = connect(database_url, pool_size=1, statement_timeout=TIMEOUT, lock_timeout=TIMEOUT)
    try:
        with engine.connect() as connection, dialect_of(engine).migrating(connection, TIMEOUT):
            yield connection
    finally:
        engine.dispose()
