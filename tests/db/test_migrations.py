"""Migrations on every database: from nothing, again, at once, and with rows in the tables."""

import multiprocessing
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier

import pytest
from alembic import command
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event, func, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from relay.db import migrate
from relay.db.engine import Store
from relay.db.tables import Base, Delivery, Listing, Watch
from tests.support.database import KINDS, empty_database
from tests.support.flow import ALL_EVENTS, World

PROCESSES = 4


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with empty_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> Iterator[str]:
    with empty_database("sqlite", tmp_path) as url:
        migrate.upgrade(url)
        yield url


def is_current(url: str) -> bool:
    store = Store(url)
    try:
        return store.read(migrate.is_current)
    finally:
        store.close()


def test_an_empty_database_is_brought_to_the_tables_of_the_code_and_then_left_alone(empty_url: str) -> None:
    assert not is_current(empty_url)
    assert migrate.upgrade(empty_url) == (None, migrate.newest())
    assert is_current(empty_url)
    assert migrate.differences(empty_url) == []
    assert migrate.upgrade(empty_url) == (migrate.newest(), migrate.newest())


def test_an_empty_scratch_database_can_be_compared(empty_url: str) -> None:
    assert migrate.check_on_scratch() == []
    assert migrate.differences(empty_url) != []


def _start_together(barrier: Barrier) -> None:
    barrier.wait(30)


@pytest.mark.processes
def test_processes_that_migrate_at_once_do_it_once(empty_url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["relay.db.migrate"])
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context, _start_together, (barrier,)) as pool:
        futures = [pool.submit(migrate.upgrade, empty_url) for _ in range(PROCESSES)]
        results = [future.result(60) for future in futures]
    newest = migrate.newest()
    assert sorted(results, key=str) == sorted(
        [(None, newest), *[(newest, newest)] * (PROCESSES - 1)], key=str
    )


def test_no_migration_begins_before_the_one_before_it_has_committed(empty_url: str) -> None:
    """On MySQL each step commits by itself and the revision last: in between, nobody may look."""
    with ThreadPoolExecutor(1) as pool:
        others: list[Future[tuple[str | None, str]]] = []

        def let_another_come(_connection: Connection) -> None:
            others.append(pool.submit(migrate.upgrade, empty_url))
            assert not wait(others, 0.5).done

        with migrate._alone(empty_url) as connection:
            command.upgrade(migrate._config(connection), "head")
            event.listen(connection, "commit", let_another_come)
        assert others[0].result(60) == (migrate.newest(), migrate.newest())


def test_a_migration_may_take_long_and_waits_long_for_another(empty_url: str) -> None:
    asked = {
        "sqlite": ["PRAGMA busy_timeout"],
        "postgresql": ["SHOW statement_timeout", "SHOW lock_timeout"],
        "mysql": ["SELECT @@max_statement_time", "SELECT @@innodb_lock_wait_timeout"],
    }
    with migrate._alone(empty_url) as connection:
        said = [connection.scalar(text(query)) for query in asked[connection.dialect.name]]
    assert set(said) <= {migrate.TIMEOUT, migrate.TIMEOUT * 1000, "1h"}


def counts(store: Store) -> dict[str, int]:
    tables = Base.metadata.sorted_tables
    return store.read(
        lambda tx: {
            table.name: tx.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }
    )


def filled(store: Store) -> World:
    """A world with rows that refer to each other."""
    world = World(store)
    world.enqueue(2)
    world.record(world.claim().taken)
    world.watch()
    return world


def test_rows_outlive_a_migration(own_database_url: str, own_store: Store) -> None:
    filled(own_store)
    before = counts(own_store)
    assert min(before[name] for name in ("watches", "jobs", "deliveries", "attempts")) >= 2
    migrate.upgrade(own_database_url)
    assert counts(own_store) == before


def test_deliveries_of_the_first_revision_are_listed_after_the_second(empty_url: str) -> None:
    subscriber = "INSERT INTO subscribers (id, name, created_at) VALUES ('sub', 'a', 1)"
    endpoint = (
        "INSERT INTO endpoints (id, subscriber_id, url, url_key, status, max_in_flight, not_before, proven,"
        " allowance, failure_streak, open_until, probe_count, notices, created_at)"
        " VALUES ('ep', 'sub', 'http://a', 'k', 'active', 1, 0, 0, 1, 0, 0, 0, 0, 1)"
    )
    delivery = (
        "INSERT INTO deliveries (id, subscriber_id, endpoint_id, event, status, due_at, attempt_count,"
        " lost_count, since, step, cancel_requested, payload_bytes, created_at)"
        " VALUES ('msg', 'sub', 'ep', 'relay.test', 'pending', 5, 0, 0, 1, 0, 0, 0, 1)"
    )
    with migrate._alone(empty_url) as connection:
        command.upgrade(migrate._config(connection), "0001")
        for row in (subscriber, endpoint, delivery):
            connection.execute(text(row))
    assert migrate.upgrade(empty_url) == ("0001", migrate.newest())
    assert migrate.differences(empty_url) == []
    store = Store(empty_url)
    listed = store.read(lambda tx: [tuple(row) for row in tx.execute(select(Listing.__table__))])
    due = store.read(lambda tx: tx.execute(select(Delivery.due_at)).scalar_one())
    store.close()
    assert (listed, due) == ([("msg", "sub", "ep", None)], 5)


def test_an_open_circuit_has_blocked_since_it_opened_and_a_cut_off_upgrade_can_be_begun_anew(
    empty_url: str,
) -> None:
    migrate.upgrade(empty_url)
    store = Store(empty_url)
    world = World(store)
    for url, opened_at in (("https://open.example/hook", 7), ("https://closed.example/hook", None)):
        world.enqueue(1, url)
        world.set_endpoint(url, opened_at=opened_at)
    with migrate._alone(empty_url) as connection:
        command.downgrade(migrate._config(connection), "0003")
        columns = {column["name"] for column in inspect(connection).get_columns("endpoints")}
    assert "blocked_since" not in columns
    with migrate._alone(empty_url) as connection:  # cut off: the column is there, the revision is not
        connection.execute(text("ALTER TABLE endpoints ADD COLUMN blocked_since BIGINT"))
    assert migrate.upgrade(empty_url) == ("0003", migrate.newest())
    assert migrate.differences(empty_url) == []
    assert [world.endpoint(f"https://{name}.example/hook").blocked_since for name in ("open", "closed")] == [
        7,
        None,
    ]
    with pytest.raises(DBAPIError):  # the table that SQLite made anew has its rules still
        world.set_endpoint("https://open.example/hook", concurrency_limit=0)
    store.close()


def test_a_new_event_needs_no_migration_and_a_cut_off_upgrade_can_be_begun_anew(empty_url: str) -> None:
    """With rows: before 0006 a CHECK listed the events, and a watch's had 100 characters."""
    migrate.upgrade(empty_url)
    store = Store(empty_url)
    world = filled(store)
    before = counts(store)
    with migrate._alone(empty_url) as connection:
        command.downgrade(migrate._config(connection), "0005")
    assert counts(store) == before
    with pytest.raises(DBAPIError, match="ck_deliveries_event"):
        store.write(lambda tx: tx.execute(update(Delivery).values(event="ai_job.progress")))
    with migrate._alone(empty_url) as connection:  # cut off: one index is there, the revision is not
        connection.execute(text("CREATE INDEX ix_jobs_provider_event ON jobs (source, provider_event_at)"))
        connection.execute(
            text("DROP INDEX ix_jobs_hinted" + " ON jobs" * (connection.dialect.name == "mysql"))
        )
    with migrate._alone(empty_url) as connection:
        command.upgrade(migrate._config(connection), "head")
    assert counts(store) == before
    store.write(lambda tx: tx.execute(update(Delivery).values(event="ai_job.progress")))
    world.watch(events=",".join(["ai_job.success"] * 60))
    assert {len(row.events) for row in world.rows(Watch)} == {len(ALL_EVENTS), 899}
    store.close()


def test_migrations_can_be_undone_and_done_again_with_rows_in_the_tables(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    store = Store(empty_url)
    filled(store)
    before = counts(store)
    with migrate._alone(empty_url) as connection:
        command.downgrade(migrate._config(connection), "0001")
    assert migrate.upgrade(empty_url) == ("0001", migrate.newest())
    assert migrate.differences(empty_url) == []
    assert counts(store) == before
    store.close()


def test_a_table_that_sqlite_makes_anew_keeps_the_rows_that_refer_to_it(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    filled(store)
    before = counts(store)
    with migrate._alone(sqlite_url) as connection:
        operations = Operations(MigrationContext.configure(connection))
        for table in ("subscribers", "endpoints", "jobs", "watches", "deliveries"):
            with operations.batch_alter_table(table, recreate="always"):
                pass
    assert counts(store) == before
    assert migrate.differences(sqlite_url) == []
    store.close()


def test_sqlite_heeds_foreign_keys_in_every_connection_but_the_migrations(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    world = filled(store)
    migrate.upgrade(sqlite_url)
    assert store.read(lambda tx: tx.scalar(text("PRAGMA foreign_keys"))) == 1
    fresh = Store(sqlite_url)
    assert fresh.write(lambda tx: tx.scalar(text("PRAGMA foreign_keys"))) == 1
    fresh.close()
    with migrate._alone(sqlite_url) as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 0
    store.write(lambda tx: tx.execute(Delivery.__table__.delete()))  # type: ignore[attr-defined]
    assert world.rows(Listing) == []
    store.close()


def test_a_migration_that_would_leave_orphans_is_undone(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as careless:  # foreign keys are off unless a connection wants them
        careless.execute(
            "INSERT INTO signing_secrets (id, subscriber_id, sealed, created_at) VALUES ('a', 'none', '', 1)"
        )
    careless.close()
    with (
        pytest.raises(RuntimeError, match="1 rows that refer to nothing"),
        migrate._alone(sqlite_url) as connection,
    ):
        connection.execute(text("CREATE TABLE half_done (a INTEGER)"))
    store = Store(sqlite_url)
    assert (
        store.read(lambda tx: tx.scalar(text("SELECT count(*) FROM sqlite_master WHERE name = 'half_done'")))
        == 0
    )
    store.close()
