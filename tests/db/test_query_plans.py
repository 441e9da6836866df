"""Open rows are found by their own indexes: a claim reads few rows, however many have ended.

So does what subscribers read page by page, however much there is of it.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text

from relay.common.time import US_PER_SECOND
from relay.db.engine import Store, Tx
from relay.db.pagination import Page
from relay.db.tables import Attempt, Endpoint, Job, Watch
from relay.deliveries.sql import deliveries, delivery_claims, delivery_views, overdue_deliveries
from relay.endpoints.sql import endpoint_views, endpoints
from relay.housekeeping import housekeeper
from relay.housekeeping.sql import prune
from relay.jobs.sql import jobs
from relay.polling.sql import poll_claims
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.watches.sql import watches
from tests.support.database import fresh_store
from tests.support.flow import ALL_EVENTS, AMPLE, LEASE, POLICY, World

FINISHED = 20_000
JOBS = 5_000
ENDPOINTS = 2_000
ATTEMPTS = 3_000  # of one delivery
TRIED = f"msg_{'7' * 32}"
# Rows that foreign keys look up are included.
FEW = 600  # rows; a claim of the open rows here reads far fewer, a scan of ended rows far more
STEPS_OF_A_ROW = 10  # virtual machine steps of SQLite, roughly: it counts no rows
BIG = {"endpoints", "deliveries", "jobs", "watches", "attempts"}


@pytest.fixture
def world(database_url: str, tmp_path: Path, lock_faults: list[str]) -> Iterator[World]:
    """A relay with a long history and little open: 10 deliveries, 10 jobs, 10 watches.

    Beside them thousands of jobs are due, at two sources.
    """
    with fresh_store(database_url.partition(":")[0], tmp_path) as store:
        world = World(store)
        store.write(add_history, world, world.new_subscriber())
        for number in range(5):
            world.enqueue(2, f"https://pending{number}.example/hook")
        world.register(*(world.request(f"open{n}", timeout=60) for n in range(10)))
        store.write(add_attempts, world)
        store.write(lambda tx: tx.execute(text(ANALYZE[tx.dialect.name])))
        lock_faults.clear()  # the history is written by hand, and nobody else uses this database
        yield world


ANALYZE = {
    "sqlite": "SELECT 1",  # as in production, where nobody does: servers analyze by themselves
    "postgresql": "ANALYZE",
    "mysql": "ANALYZE TABLE endpoints, deliveries, jobs, watches, attempts",
}


def add_history(tx: Tx, world: World, subscriber_id: str) -> None:
    """Endpoints with nothing pending, and jobs, watches and deliveries that have ended."""
    now = world.now
    ended = {"created_at": now, "finished_at": now, "due_at": None}
    owners = [world.new_id("ep") for _ in range(ENDPOINTS)]
    idle = [endpoints.new_row(owner, subscriber_id, f"https://{owner}.example/hook", now) for owner in owners]
    tx.execute(insert(Endpoint), idle)
    job = ended | {"source": "default", "status": "success"}
    tx.execute(insert(Job), [job | {"job_id": f"old{number}"} for number in range(JOBS)])
    keys = list(tx.scalars(select(Job.id)))
    waiting = {"status": "open", "created_at": now, "due_at": now - 1, "owner": subscriber_id}
    for source in (LIST_AI_JOB.name, "other"):
        of_source = waiting | {"source": source}
        tx.execute(insert(Job), [of_source | {"job_id": f"due{number}"} for number in range(JOBS)])
    watch = ended | {"subscriber_id": subscriber_id, "status": "success", "expires_at": now}
    watch |= {"events": ALL_EVENTS, "user_metadata": "{}", "missing_base": 0}
    watches = [(world.new_id("wat"), key, owners[number % ENDPOINTS]) for number, key in enumerate(keys)]
    rows = [watch | {"id": watch_id, "job": key, "endpoint_id": owner} for watch_id, key, owner in watches]
    tx.execute(insert(Watch), rows)
    delivered = ended | {"status": "delivered", "delivered_at": now}
    sent = [
        deliveries.new_row(
            world.new_id("msg"),
            subscriber_id=subscriber_id,
            watch_id=watches[number % JOBS][0],
            endpoint_id=watches[number % JOBS][2],
            event="ai_job.success",
            payload_bytes=100,
            now=now,
        )
        | delivered
        for number in range(FINISHED)
    ]
    deliveries.insert(tx, sent)


def add_attempts(tx: Tx, world: World) -> None:
    """A delivery of the world's subscriber that was tried for days, and ended long ago."""
    owner = tx.scalars(select(Endpoint.id).where(Endpoint.subscriber_id == world.subscriber_id)).first()
    assert owner is not None
    tried = deliveries.new_row(
        TRIED,
        subscriber_id=world.subscriber_id,
        watch_id=None,
        endpoint_id=owner,
        event="ai_job.success",
        payload_bytes=100,
        now=world.now,
    )
    ended = {"status": "failed", "due_at": None, "finished_at": world.now, "attempt_count": ATTEMPTS}
    deliveries.insert(tx, [tried | ended])
    attempt = {"delivery_id": TRIED, "started_at": world.now, "error": "lost"}
    tx.execute(
        insert(Attempt),
        [attempt | {"number": number + 1, "id": world.new_id("att")} for number in range(ATTEMPTS)],
    )


Pass = Callable[[Tx, World], object]


class Undone(Exception):
    """Rolls a transaction back."""


def undone(store: Store, work: Callable[[Tx], object]) -> None:
    """Run in a transaction that is rolled back."""

    def run(tx: Tx) -> None:
        work(tx)
        raise Undone

    with pytest.raises(Undone):
        store.write(run)


def claim_deliveries(tx: Tx, world: World) -> object:
    claim = delivery_claims.claim(
        tx, now=world.now, lease=LEASE, token="t" * 32, capacity=AMPLE, policy=POLICY, new_id=world.new_id
    )
    assert len(claim.taken) == 10
    return claim


def claim_jobs(tx: Tx, world: World) -> object:
    claim = poll_claims.claim(
        tx, LIST_AI_JOB, now=world.now, lease=LEASE, token="t" * 32, call_interval=US_PER_SECOND
    )
    assert len(claim.jobs) == 10
    return jobs.lock_claimed(tx, claim.token, {job.key: job.number for job in claim.jobs})


def expire(tx: Tx, world: World) -> object:
    late = world.now + 60 * US_PER_SECOND
    overdue = watches.overdue(tx, late, housekeeper.EXPIRE_BATCH)
    assert housekeeper.expire(tx, overdue, late, world.new_id) == 10
    return watches.next_deadline(tx)


def look_for_work(tx: Tx, _world: World) -> object:
    return (
        delivery_claims.next_ready(tx),
        poll_claims.next_due(tx, LIST_AI_JOB.name),
        watches.next_deadline(tx),
    )


def look_for_overdue(tx: Tx, world: World) -> object:
    url = "https://pending0.example/hook"
    pending = endpoints.find_by_urls(tx, world.subscriber_id, [url])[url]
    assert (
        len(
            overdue_deliveries.overdue(
                tx, pending, overdue_deliveries.blocked_limit(world.now + 1), world.now
            )
        )
        == 2
    )
    return overdue_deliveries.overdue(tx, pending, overdue_deliveries.blocked_limit(0), world.now)


def prune_nothing(tx: Tx, world: World) -> object:
    assert not any(prune.batch(tx, world.now, 0).values())
    return None


def show_one_delivery(tx: Tx, world: World) -> object:
    shown = delivery_views.delivery(tx, world.subscriber_id, TRIED)
    assert len(shown.latest_attempts) == delivery_views.LATEST_ATTEMPTS
    return shown


def list_attempts(tx: Tx, world: World) -> object:
    rows = delivery_views.attempts(tx, world.subscriber_id, TRIED, Page(50, ATTEMPTS // 2))
    assert len(rows) == 50 + 1  # one more, which says that there is a next page
    return rows


def list_active_endpoints(tx: Tx, world: World) -> object:
    shown = endpoint_views.endpoints(tx, world.subscriber_id, Page(100), world.now, status="active")
    assert len(shown) == 6
    return shown


# The primary key of the attempts, as each database calls it.
KEY_OF_ATTEMPTS = ("sqlite_autoindex_attempts", "pk_attempts", "PRIMARY")

# The work, the indexes it must use, and how many rows it may read beside the few open rows.
PASSES: dict[str, tuple[Pass, set[str | tuple[str, ...]], int]] = {
    "claim of deliveries": (claim_deliveries, {"ix_endpoints_", "ix_deliveries_due"}, 0),
    "claim of jobs": (claim_jobs, {"ix_jobs_due", "ix_watches_job"}, 0),
    "expiry": (expire, {"ix_watches_due"}, 0),
    "look for work": (look_for_work, {"ix_endpoints_ready", "ix_jobs_due", "ix_watches_due"}, 0),
    "look for what is overdue": (look_for_overdue, {"ix_deliveries_due"}, 0),
    "pruning of nothing": (prune_nothing, set(), ENDPOINTS),  # it looks through the endpoints: they are few
    "one delivery": (show_one_delivery, {KEY_OF_ATTEMPTS}, 0),
    "list of attempts": (list_attempts, {KEY_OF_ATTEMPTS}, 0),
    "list of endpoints of a status": (list_active_endpoints, {"ix_endpoints_"}, 0),
}


def test_every_pass_reads_few_rows_by_the_indexes_of_open_rows(world: World) -> None:
    # One test for all, so that the history is made once for each database.
    for name, (work, expected, more) in PASSES.items():
        assert rows_read_by(world, work) < FEW + more, name
        if expected:
            used, scanned = indexes_and_scans_of(world, work)
            assert not scanned & BIG, name
            assert all(any(index.startswith(prefix) for index in used) for prefix in expected), (name, used)


def rows_read_by(world: World, work: Pass) -> int:
    read: list[int] = []
    undone(world.store, lambda tx: read.append(rows_read(tx, lambda: work(tx, world))))
    return read[0]


def rows_read(tx: Tx, work: Callable[[], object]) -> int:
    """How many rows a pass reads, by the database's own count."""
    match tx.dialect.name:
        case "sqlite":
            return steps_of_sqlite(tx, work) // STEPS_OF_A_ROW
        case "postgresql":
            before = rows_of_postgresql(tx)
            work()
            return rows_of_postgresql(tx) - before
        case _:
            first, before = rows_of_mysql(tx), rows_of_mysql(tx)
            work()
            return rows_of_mysql(tx) - before - (before - first)  # asking reads rows too


def steps_of_sqlite(tx: Tx, work: Callable[[], object]) -> int:
    retry_delays = 0

    def count() -> None:
        nonlocal retry_delays
        retry_delays += 10

    driver: Any = tx.connection.driver_connection
    driver.set_progress_handler(count, 10)
    work()
    driver.set_progress_handler(None, 10)
    return retry_delays


def rows_of_postgresql(tx: Tx) -> int:
    columns = "COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)"
    return int(tx.scalar(text(f"SELECT SUM({columns}) FROM pg_stat_xact_user_tables")) or 0)


def rows_of_mysql(tx: Tx) -> int:
    return sum(int(value) for _, value in tx.execute(text("SHOW SESSION STATUS LIKE 'Handler\\_read%'")))


def indexes_and_scans_of(world: World, work: Pass) -> tuple[set[str], set[str]]:
    """The indexes that an iteration's statements use, and the tables that they scan in full."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's signature
        if statement.startswith(("SELECT", "UPDATE")):
            statements.append((statement, parameters[0] if many else parameters))

    event.listen(world.store.engine, "before_cursor_execute", note)
    undone(world.store, lambda tx: work(tx, world))
    event.remove(world.store.engine, "before_cursor_execute", note)
    used: set[str] = set()
    scanned: set[str] = set()
    for statement, parameters in statements:
        indexes, tables = world.store.read(plan_of, statement, parameters)
        used |= indexes
        scanned |= tables
    assert statements
    return used, scanned


def plan_of(tx: Tx, statement: str, parameters: Any) -> tuple[set[str], set[str]]:
    """The indexes that a statement would use, and the tables that it would read from end to end."""
    match tx.dialect.name:
        case "sqlite":
            lines = [
                row[3].split() for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            indexes = {line[line.index("INDEX") + 1] for line in lines if "INDEX" in line}
            return indexes, {line[1] for line in lines if line[0] == "SCAN" and len(line) == 2}
        case "postgresql":
            said = tx.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            plan = json.loads(said) if isinstance(said, str) else said
            nodes = list(nodes_of(plan[0]["Plan"]))
            scans = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
            return {node["Index Name"] for node in nodes if "Index Name" in node}, scans
        case _:
            retry_delays = tx.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
            return {step["key"] for step in retry_delays if step["key"]}, {
                step["table"]
                for step in retry_delays
                if step["type"] in {"ALL", "index"} and int(step["rows"] or 0) > FEW
            }


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes_of(part)
