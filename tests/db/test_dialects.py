"""The seam `Dialect`: what a new database needs, and what is said of one that is not there."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from relay.db import dialects
from relay.db.dialects import CLASSES, DIALECTS, Dialect, RowQuery, dialect_of, driver_url, registered
from relay.db.dialects.base import MOST_BRANCHES
from relay.db.dialects.sqlite import SqliteDialect
from relay.db.engine import Store, Tx

EVERY_DATABASE = "sqlite, postgresql, postgres, mysql, mariadb"


class ToyDialect(Dialect):
    """A database that somebody has begun to write."""

    name = "toy"
    driver = "toy"

    def insert_if_absent(self, tx: Tx, table: Any, rows: Any) -> int:
        raise NotImplementedError


def test_an_incomplete_dialect_is_refused_with_all_that_it_lacks() -> None:
    with pytest.raises(TypeError) as refused:
        registered({**CLASSES, ("toy",): ToyDialect})  # type: ignore[type-abstract]
    assert str(refused.value) == (
        "ToyDialect can't be registered as a dialect: it lacks ascii_text, connect, driver_error_kind,"
        " driver_error_text, has_partial_indexes, long_text, longest_text, migrating, now, parameter,"
        " short_text"
    )


def test_a_complete_dialect_is_one_line_of_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CompleteDialect(SqliteDialect):
        """A database that happens to be SQLite."""

    monkeypatch.setattr(dialects, "DIALECTS", registered({**CLASSES, ("toy",): CompleteDialect}))
    engine = dialects.connect(f"toy:///{tmp_path}/toy.db")
    with engine.begin() as tx:
        assert tx.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()


@pytest.mark.parametrize("url", ["oracle://u:opensesame@h/db", "postgresq://u:opensesame@h/db"])
def test_an_unknown_database_is_refused_with_those_that_exist(url: str) -> None:
    name = url.partition(":")[0]
    for use in (Store, driver_url, dialects.database_file):
        with pytest.raises(LookupError) as refused:
            use(url)
        assert str(refused.value) == f"Relay knows no database {name!r}; it knows {EVERY_DATABASE}"


def test_a_transaction_of_an_unknown_dialect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing silently means one of those that exist."""
    engine = create_engine("sqlite://")
    monkeypatch.setattr(engine.dialect, "name", "oracle")
    with engine.connect() as tx, pytest.raises(LookupError, match="'oracle'"):
        dialect_of(tx)


def test_each_name_of_a_database_means_one_object() -> None:
    assert list(DIALECTS) == EVERY_DATABASE.split(", ")
    assert DIALECTS["postgres"] is DIALECTS["postgresql"]
    assert DIALECTS["mariadb"] is DIALECTS["mysql"]


@pytest.mark.parametrize("count", [1, 5, MOST_BRANCHES + 3])
def test_a_query_for_each_of_several_rows_finds_what_each_by_itself_finds(store: Store, count: int) -> None:
    numbers = "(SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3)"
    query = RowQuery(
        f"SELECT n FROM {numbers} AS numbers WHERE n <= {{most}} ORDER BY n DESC LIMIT {{rows}}",
        {"most": "int", "rows": "int"},
        (0, 0),
    )
    rows = [(index % 4, 2) for index in range(count)]
    found = store.read(lambda tx: store.dialect.for_each(tx, query, rows))
    expected = [n for most, _ in rows for n in range(most, max(most - 2, 0), -1)]
    assert sorted(n for (n,) in found) == sorted(expected)
