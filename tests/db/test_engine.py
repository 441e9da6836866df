"""Transactions on every database: which errors are retried, and that none quotes a row."""

import secrets
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from relay.common.errors import StoreUnavailable
from relay.db.engine import Store, Tx
from relay.db.statements import insert_if_absent, insert_rows, update_rows
from relay.db.tables import Counter, Endpoint, Job, Subscriber
from relay.jobs.sql import jobs

ONE_WRITER = "SQLite has one writer at a time"


@pytest.fixture
def servers_only(store: Store) -> None:
    if store.dialect.name == "sqlite":
        pytest.skip(ONE_WRITER)


def fresh_counter(store: Store) -> str:
    """A row of the shared database that only this test touches."""
    name = secrets.token_hex(8)
    store.write(lambda tx: tx.execute(insert(Counter), {"name": name, "label": "", "value": 0}))
    return name


def add_one(tx: Tx, name: str) -> None:
    tx.execute(update(Counter).where(Counter.name == name).values(value=Counter.value + 1))


def value_of(store: Store, name: str) -> int:
    return store.read(lambda tx: tx.execute(select(Counter.value).where(Counter.name == name)).scalar_one())


@pytest.mark.usefixtures("servers_only")
def test_the_victim_of_a_deadlock_is_run_again_as_a_whole(store: Store) -> None:
    first, second = fresh_counter(store), fresh_counter(store)
    both_hold_one = threading.Barrier(2, timeout=20)
    runs: list[str] = []

    def work(tx: Tx, mine: str, other: str) -> None:
        runs.append(mine)
        add_one(tx, mine)
        if len(runs) <= 2:
            both_hold_one.wait()
        add_one(tx, other)

    with ThreadPoolExecutor(2) as pool:
        there = pool.submit(store.write, work, first, second)
        back = pool.submit(store.write, work, second, first)
        there.result(30)
        back.result(30)
    assert len(runs) == 3
    assert (value_of(store, first), value_of(store, second)) == (2, 2)


@pytest.mark.usefixtures("servers_only")
def test_a_row_changed_under_a_snapshot_is_read_again(store: Store) -> None:
    if store.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has serialization failures")
    name = fresh_counter(store)
    seen: list[int] = []

    def work(tx: Tx) -> None:
        tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        seen.append(tx.execute(select(Counter.value).where(Counter.name == name)).scalar_one())
        if len(seen) == 1:
            store.write(add_one, name)
        add_one(tx, name)

    store.write(work)
    assert seen == [0, 1]
    assert value_of(store, name) == 2


@pytest.mark.usefixtures("servers_only")
def test_a_lock_that_is_not_given_in_time_is_asked_for_again(store: Store, database_url: str) -> None:
    name = fresh_counter(store)
    impatient = Store(database_url)
    runs = 0

    def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            holder.commit()
        no_wait = {"postgresql": "SET LOCAL lock_timeout = 1", "mysql": "SET innodb_lock_wait_timeout = 0"}
        tx.execute(text(no_wait[store.dialect.name]))
        add_one(tx, name)

    with store.engine.connect() as holder:
        add_one(holder, name)
        impatient.write(work)
    impatient.close()
    assert (runs, value_of(store, name)) == (2, 2)


@pytest.mark.usefixtures("servers_only")
@pytest.mark.parametrize("pool_size", [1, 5])
def test_a_connection_that_breaks_in_mid_transaction_costs_nothing(
    store: Store, database_url: str, pool_size: int
) -> None:
    name = fresh_counter(store)
    fragile = Store(database_url, pool_size=pool_size)
    runs = 0

    def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        add_one(tx, name)
        if runs == 1:
            kill(store, tx)
        add_one(tx, name)

    fragile.write(work)
    fragile.close()
    assert (runs, value_of(store, name)) == (2, 2)


def kill(store: Store, victim: Tx) -> None:
    """End a transaction's connection at the server."""
    postgres = store.dialect.name == "postgresql"
    mine = victim.scalar(text("SELECT pg_backend_pid()" if postgres else "SELECT CONNECTION_ID()"))
    with store.engine.connect() as killer:
        killer.execute(text("SELECT pg_terminate_backend(:id)" if postgres else "KILL :id"), {"id": mine})


@contextmanager
def writer_of_another_process(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of a write, until its stdin is closed."""
    script = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "print('writing', flush=True)\n"
        "sys.stdin.read()\n"
        "connection.execute('COMMIT')\n"
    )
    command = [sys.executable, "-c", script, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "relay.db"


@pytest.fixture
def hasty_store(sqlite_file: Path) -> Iterator[Store]:
    """A store on SQLite whose own busy wait is over at once."""
    store = Store(f"sqlite:///{sqlite_file}", retry_timeout=0.3)
    event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0"))
    store.write(lambda tx: tx.execute(text("CREATE TABLE notes (note TEXT)")))
    yield store
    store.close()


def write_note(tx: Tx) -> None:
    tx.execute(text("INSERT INTO notes VALUES ('here')"))


def read_notes(tx: Tx) -> int:
    return int(tx.execute(text("SELECT count(*) FROM notes")).scalar_one())


@pytest.mark.processes
def test_a_write_waits_until_another_process_has_written(hasty_store: Store, sqlite_file: Path) -> None:
    refused = 0
    with writer_of_another_process(sqlite_file) as other:

        def note_refusal(_context: Any) -> None:
            nonlocal refused
            refused += 1
            if refused == 2 and other.stdin is not None:
                other.stdin.close()

        event.listen(hasty_store.engine, "handle_error", note_refusal)
        hasty_store._retry_timeout = 20.0
        hasty_store.write(write_note)
    assert refused >= 2
    assert hasty_store.read(read_notes) == 1


@pytest.mark.processes
def test_a_write_that_waits_too_long_says_so_and_a_read_waits_for_nobody(
    hasty_store: Store, sqlite_file: Path
) -> None:
    with writer_of_another_process(sqlite_file):
        assert hasty_store.read(read_notes) == 0
        with pytest.raises(StoreUnavailable, match="try again"):
            hasty_store.write(write_note)
    assert hasty_store.read(read_notes) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:opensesame@127.0.0.1:{port}/relay",
        "postgres://someone:opensesame@127.0.0.1:{port}/relay",
        "mysql://someone:opensesame@127.0.0.1:{port}/relay",
        "mariadb://someone:opensesame@127.0.0.1:{port}/relay",
        "sqlite:////no-such-directory/opensesame.db",
    ],
)
def test_a_database_that_is_away_is_said_without_naming_it(url: str) -> None:
    port = free_port()
    store = Store(url.format(port=port), retry_timeout=0.2)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        store.write(lambda tx: tx.scalar(text("SELECT 4711")))
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert "try again" in message
    assert not any(word in message for word in ("opensesame", "someone", "127.0.0.1", str(port), "4711"))
    assert caught.value.retry_after >= 1
    store.close()


@pytest.mark.parametrize(
    "statement",
    ["SELECT nothing FROM nowhere", "SELECT nothing FROM jobs", "SELEKT 1"],
    ids=["table", "column", "syntax"],
)
def test_a_mistake_of_ours_is_not_tried_again(store: Store, statement: str) -> None:
    runs = 0

    def work(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        tx.execute(text(statement))

    with pytest.raises(DBAPIError):
        store.write(work)
    assert runs == 1


def test_a_transaction_that_raises_leaves_nothing_behind(store: Store) -> None:
    name = fresh_counter(store)

    def work(tx: Tx) -> None:
        add_one(tx, name)
        raise LookupError("half-way")

    with pytest.raises(LookupError):
        store.write(work)
    assert value_of(store, name) == 0


def test_writers_of_one_process_do_not_disturb_each_other(store: Store) -> None:
    name = fresh_counter(store)

    def work(tx: Tx) -> None:
        seen = tx.execute(select(Counter.value).where(Counter.name == name).with_for_update()).scalar_one()
        tx.execute(update(Counter).where(Counter.name == name).values(value=seen + 1))

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(store.write, work) for _ in range(40)]:
            future.result(30)
    assert value_of(store, name) == 40


def test_ids_that_differ_in_their_letters_case_are_two(store: Store) -> None:
    unique = secrets.token_hex(8)
    keys = [("default", f"{unique}-abC1"), ("default", f"{unique}-ABc1")]
    found = store.write(jobs.find_or_make, keys, 1)
    assert len({row.id for row in found.values()}) == 2
    again = store.write(jobs.find_or_make, reversed(keys), 2)
    assert {name: row.id for name, row in again.items()} == {name: row.id for name, row in found.items()}
    other = ("default", f"{unique}-ABC1")
    assert store.write(jobs.find_or_make, [other], 3).keys() == {other}


def counter_row(name: str) -> dict[str, Any]:
    return {"name": name, "label": "", "value": 7}


def test_rows_that_a_unique_key_refuses_are_left_out_and_the_others_counted(store: Store) -> None:
    first, second, third = (secrets.token_hex(8) for _ in range(3))

    def put(*names: str) -> int:
        return store.write(insert_if_absent, Counter, [counter_row(name) for name in names])

    assert put(first, second) == 2
    assert put(second, third) == 1
    assert put(first, second, third) == 0
    twice = secrets.token_hex(8)
    assert put(twice, twice) == 1


@pytest.mark.parametrize("commits", [True, False])
def test_the_second_insert_of_a_key_waits_for_the_first(store: Store, commits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    name = secrets.token_hex(8)
    begun = threading.Event()

    def come_second(tx: Tx) -> int:
        return insert_if_absent(tx, Counter, [counter_row(name)])

    def queue() -> int:
        begun.set()
        return store.write(come_second)

    with ThreadPoolExecutor(1) as pool:

        def come_first(tx: Tx) -> Any:
            assert insert_if_absent(tx, Counter, [counter_row(name)]) == 1
            second = pool.submit(queue)
            assert begun.wait(10)
            if not commits:
                raise LookupError(second)
            return second

        try:
            second = store.write(come_first)
        except LookupError as error:
            (second,) = error.args
        assert second.result(30) == (0 if commits else 1)


@pytest.mark.parametrize(
    "wrong",
    [{"status": "lost"}, {"due_at": None, "token": "t"}, {"job_id": None}],
    ids=["state", "claim", "null"],
)
def test_only_a_unique_key_may_leave_a_row_out(store: Store, wrong: dict[str, Any]) -> None:
    row = {"source": "default", "job_id": secrets.token_hex(8), "status": "open", "created_at": 1}
    defaults = {"data_bytes": 0, "data_is_json": 0, "attempt_count": 0, "lost_count": 0, "missing_count": 0}
    with pytest.raises(DBAPIError):
        store.write(insert_if_absent, Job, [row | defaults | {"due_at": None, "token": None} | wrong])


def test_an_empty_list_inserts_and_updates_nothing(store: Store) -> None:
    def rows(tx: Tx) -> int:
        return tx.execute(select(func.count()).select_from(Counter)).scalar_one()

    before = store.read(rows)
    store.write(insert_rows, Counter, [])
    assert store.write(insert_if_absent, Counter, []) == 0
    everything = update(Counter).values(value=bindparam("new"))
    store.write(update_rows, everything, [])
    assert store.read(rows) == before


SECRET = "opensesame"


def texts_of_error(store: Store, work: Any) -> str:
    """All texts of an error: its own, its causes', its repr."""
    with pytest.raises(DBAPIError) as caught:
        store.write(work)
    error = caught.value
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.orig)


def test_a_refused_row_is_not_quoted_in_the_error(store: Store) -> None:
    row = {"id": secrets.token_hex(8), "name": f"it's {SECRET}: 'x' for key", "created_at": 1}

    def twice(tx: Tx) -> None:
        tx.execute(insert(Subscriber), row)
        tx.execute(insert(Subscriber), row | {"id": secrets.token_hex(8)})

    said = texts_of_error(store, twice)
    assert "subscribers" in said
    assert "IntegrityError" in said or "UniqueViolation" in said
    assert SECRET not in said


def test_a_row_that_breaks_a_rule_is_not_quoted_in_the_error(store: Store) -> None:
    row = {"id": "ep_1", "subscriber_id": "sub_1", "url": f"https://example.com/{SECRET}", "created_at": 1}
    broken = row | {"status": "active", "max_in_flight": 0}
    said = texts_of_error(store, lambda tx: tx.execute(insert(Endpoint), broken))
    assert "ck_endpoints_" in said
    assert SECRET not in said


@pytest.mark.usefixtures("servers_only")
def test_a_value_of_the_wrong_type_is_not_quoted_in_the_error(store: Store) -> None:
    statement = text("UPDATE counters SET value = :value WHERE name = :name")
    name = fresh_counter(store)
    said = texts_of_error(store, lambda tx: tx.execute(statement, {"value": SECRET, "name": name}))
    assert SECRET not in said


def test_a_caller_can_still_distinguish_refusals(store: Store) -> None:
    row = {"id": secrets.token_hex(8), "name": secrets.token_hex(8), "created_at": 1}

    def twice(tx: Tx) -> bool:
        tx.execute(insert(Subscriber), row)
        try:
            with tx.begin_nested():
                tx.execute(insert(Subscriber), row)
        except IntegrityError:
            return True
        return False

    assert store.write(twice)


def test_write_once_does_not_run_again_after_a_possible_commit(store: Store) -> None:
    """The connection breaks at the commit: nobody knows whether it took place."""
    runs = []

    def work(tx: Tx) -> None:
        runs.append(1)
        event.listen(tx, "commit", _break_the_connection, once=True)

    with pytest.raises(StoreUnavailable):
        store.write_once(work)
    assert len(runs) == 1


def _break_the_connection(_connection: object) -> None:
    raise OperationalError("COMMIT", None, InterruptedError("gone"), connection_invalidated=True)


def test_a_new_sqlite_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    store = Store(f"sqlite:///{path}")
    assert not path.exists()
    with store.engine.begin() as tx:
        tx.execute(text("CREATE TABLE t (x INTEGER)"))
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(("relay.db", "relay.db-wal", "relay.db-shm"), 0o600)


def test_an_sqlite_database_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    path.touch()
    path.chmod(0o640)
    store = Store(f"sqlite:///{path}")
    assert store.read(lambda tx: tx.execute(text("SELECT 1")).scalar_one()) == 1
    store.close()
    assert path.stat().st_mode & 0o777 == 0o640
