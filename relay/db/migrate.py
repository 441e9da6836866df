"""Migrations: bring a database to the newest revision, say whether it is there, compare with the tables."""

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
from sqlalchemy import Connection, text

from relay.db.engine import Tx, connect
from relay.db.tables import Base

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
LOCK_NAME = "relay migrations"
LOCK_NUMBER = 7_305_911  # PostgreSQL's advisory locks are numbers; any will do that nobody else uses
TIMEOUT = 3600  # seconds, of one statement and of the wait for another's migration: big tables take long


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
    """Migrate an empty SQLite database and say where it differs from the tables."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/scratch.db"
        upgrade(url)
        return differences(url)


def differences(database_url: str) -> list[Any]:
    """What a migrated database lacks or has beyond the tables of this code; empty when they match."""
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
    """A connection with a transaction that no other migration shares.

    On SQLite foreign keys are off: batch mode copies a table and drops the old one, and with
    cascades on that drop deletes child rows. They are checked before the commit instead.
    """
    engine = connect(database_url, pool_size=1, statement_timeout=TIMEOUT, lock_timeout=TIMEOUT)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
            _lock_session(connection)
            with connection.begin():
                _lock_transaction(connection)
                yield connection
                _check_foreign_keys(connection)
    finally:
        engine.dispose()


def _lock_session(connection: Connection) -> None:
    """Lock on MySQL until the session ends: released any sooner, another could come before the commit."""
    if connection.dialect.name in {"mysql", "mariadb"}:
        name = {"name": LOCK_NAME, "seconds": TIMEOUT}
        with connection.begin():
            if connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), name) != 1:
                raise RuntimeError(f"another migration has held its lock for {TIMEOUT} seconds; look at it")


def _lock_transaction(connection: Connection) -> None:
    """Lock on PostgreSQL, which unlocks after the commit is seen; on SQLite BEGIN IMMEDIATE has locked."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = connection.execute(text("PRAGMA foreign_key_check")).all()
        if broken:
            raise RuntimeError(f"the migration would leave {len(broken)} rows that refer to nothing")
