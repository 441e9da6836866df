"""The databases that Relay runs on. A new database is a file here, a line below and a driver."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.engine.url import URL

from relay.db.dialects.base import Dialect, ErrorKind, RowQuery, Tx
from relay.db.dialects.mysql import MysqlDialect
from relay.db.dialects.postgresql import PostgresqlDialect
from relay.db.dialects.sqlite import SqliteDialect

__all__ = [
    "DIALECTS",
    "Dialect",
    "ErrorKind",
    "RowQuery",
    "Tx",
    "connect",
    "database_file",
    "dialect_of",
    "driver_url",
    "url_forms",
]

STATEMENT_TIMEOUT = 30  # seconds; the longest statement is a batch of a few thousand rows
LOCK_TIMEOUT = 5  # seconds; transactions are short, so a longer wait is a fault

# The schemes of its URLs, the usual one first → the dialect.
CLASSES: Mapping[tuple[str, ...], type[Dialect]] = {
    ("sqlite",): SqliteDialect,
    ("postgresql", "postgres"): PostgresqlDialect,
    ("mysql", "mariadb"): MysqlDialect,
}


class _Dialects(dict[str, Dialect]):
    """Name → dialect; an unknown name raises LookupError with the known names."""

    def __missing__(self, name: str) -> Dialect:
        raise LookupError(f"Relay knows no database {name!r}; it knows {', '.join(self)}")


def registered(classes: Mapping[tuple[str, ...], type[Dialect]]) -> Mapping[str, Dialect]:
    """URL scheme → dialect. Raises TypeError with a list of the members that a class lacks."""
    dialects = _Dialects()
    for schemes, of in classes.items():
        lacking = sorted(of.__abstractmethods__)
        if lacking:
            raise TypeError(f"{of.__name__} can't be registered as a dialect: it lacks {', '.join(lacking)}")
        dialects |= dict.fromkeys(schemes, of())
    return dialects


DIALECTS = registered(CLASSES)
_BY_NAME = _Dialects({dialect.name: dialect for dialect in DIALECTS.values()})


def dialect_of(tx: Tx | Engine) -> Dialect:
    """The dialect of a transaction or an engine."""
    return _BY_NAME[tx.dialect.name]


def driver_url(database_url: str) -> URL:
    """The URL with the name of the driver, as SQLAlchemy takes it."""
    url = make_url(database_url)
    return url.set(drivername=DIALECTS[url.get_backend_name()].driver)


def url_forms() -> str:
    """The accepted forms of URLs, for people."""
    prefixes: dict[str, list[str]] = {}
    for scheme, dialect in DIALECTS.items():
        prefixes.setdefault(dialect.url_form, []).append(scheme + dialect.url_prefix)
    either = {form: " or ".join(", ".join(some).rsplit(", ", 1)) for form, some in prefixes.items()}
    return ", or ".join(f"{names} {form}" for form, names in either.items())


def database_file(database_url: str) -> Path | None:
    """The file that holds a database; None for a server's database, which machines may share."""
    return DIALECTS[database_url.partition(":")[0]].local_file(database_url)


def connect(
    database_url: str,
    *,
    pool_size: int = 5,
    statement_timeout: int = STATEMENT_TIMEOUT,
    lock_timeout: int = LOCK_TIMEOUT,
) -> Engine:
    """Make an engine with the session settings that transactions rely on; time-outs in seconds."""
    url = driver_url(database_url)
    dialect = DIALECTS[url.get_backend_name()]
    return dialect.connect(
        url, pool_size=pool_size, statement_timeout=statement_timeout, lock_timeout=lock_timeout
    )
