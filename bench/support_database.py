"""Databases of a benchmark's own: empty or copied from a filled one, and gone afterwards.

A copy is what makes rounds equal: each starts from the same filled, analysed, checkpointed files.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from relay.db import migrate

POSTGRESQL, SQLITE = "postgresql", "sqlite"
POSTGRESQL_URL = os.environ.get("BENCH_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/postgres")


def available() -> list[str]:
    """The kinds of database that this machine has."""
    try:
        psycopg.connect(POSTGRESQL_URL, connect_timeout=3).close()
    except psycopg.OperationalError:
        return [SQLITE]
    return [POSTGRESQL, SQLITE]


@contextlib.contextmanager
def scratch(kind: str, folder: Path, *, copy_of: str | None = None) -> Iterator[str]:
    """The URL of a new database: empty, or a copy of another that nobody is connected to."""
    name = f"relay_bench_{os.getpid()}_{secrets.token_hex(4)}"
    if kind == SQLITE:
        with _sqlite(folder / f"{name}.db", copy_of) as url:
            yield url
    else:
        with _postgresql(name, copy_of) as url:
            yield url


@contextlib.contextmanager
def migrated(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database with the relay's tables."""
    with scratch(kind, folder) as url:
        migrate.upgrade(url)
        yield url


@contextlib.contextmanager
def _sqlite(path: Path, copy_of: str | None) -> Iterator[str]:
    try:
        if copy_of is not None:
            shutil.copyfile(path_of(copy_of), path)
        yield f"sqlite:///{path}"
    finally:
        for leftover in path.parent.glob(f"{path.name}*"):
            leftover.unlink()


@contextlib.contextmanager
def _postgresql(name: str, copy_of: str | None) -> Iterator[str]:
    # file_copy ends in a checkpoint, so that none falls due because of the copy in the middle of a
    # run.
    template = f" TEMPLATE {name_of(copy_of)} STRATEGY file_copy" if copy_of is not None else ""
    try:
        _administer(f"CREATE DATABASE {name}{template}")
        yield make_url(POSTGRESQL_URL).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _administer(statement: str) -> None:
    with psycopg.connect(POSTGRESQL_URL, autocommit=True) as connection:
        connection.execute(statement)


def path_of(sqlite_url: str) -> Path:
    """The file of a SQLite database."""
    return Path(sqlite_url.partition(":///")[2])


def name_of(url: str) -> str:
    """The name of a server's database."""
    return str(make_url(url).database)


def backends(url: str) -> list[int]:
    """The process ids of this database's sessions on this machine; none on SQLite."""
    if url.startswith(SQLITE):
        return []
    with psycopg.connect(POSTGRESQL_URL) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [name_of(url)])
        return [int(pid) for (pid,) in rows]
