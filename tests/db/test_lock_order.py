"""Locks are taken in one order, so that no two transactions wait for each other.

Every transaction of every test is watched for that (`lock_faults`); here it is shown that the
watch sees a wrong order, and takes no right one for wrong.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from sqlalchemy import select, update

from relay.common.states import JobStatus
from relay.db import idempotency
from relay.db.dialects import dialect_of
from relay.db.engine import Store, Tx
from relay.db.lock_order import LOCK_ORDER
from relay.db.statements import lock
from relay.db.tables import Base, Delivery, Endpoint, Job, Upstream
from relay.endpoints.sql import endpoints
from tests.support.flow import World, fresh_job_id


def test_a_registration_locks_all_its_endpoints_at_once(
    own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watches on succeeded and failed jobs: locking by outcome would be two orders."""
    world = World(own_store)
    job_ids = [fresh_job_id() for _ in range(2)]
    for job_id in job_ids:
        world.end_job(world.watch(job_id, "https://example.com/earlier"))
    failed = update(Job).where(Job.job_id == job_ids[1]).values(status=JobStatus.FAIL)
    own_store.write(lambda tx: tx.execute(failed))
    locked = watch_locks(monkeypatch)
    urls = ["https://example.com/a", "https://example.com/b"]
    world.register(*(world.request(job_id, url) for job_id, url in zip(job_ids, urls, strict=True)))
    first, *later = locked
    assert all(ids <= first for ids in later)


def watch_locks(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Grows by a set of ids whenever endpoints are locked."""
    locked: list[set[str]] = []
    lock_in_order = endpoints.lock_in_order

    def noting(tx: Tx, ids: Iterable[str]) -> dict[str, Any]:
        wanted = set(ids)
        if wanted:
            locked.append(wanted)
        return lock_in_order(tx, wanted)

    monkeypatch.setattr(endpoints, "lock_in_order", noting)
    return locked


def lock_rows(tx: Tx, table: Any, *keys: Any, skip: bool = False) -> None:
    """Lock rows as a room does."""
    rows = select(table.id).where(dialect_of(tx).among(table.id, keys)).order_by(table.id)
    tx.execute(lock(rows, skip=skip)).all()


def set_ready(tx: Tx, *keys: str) -> None:
    """Update endpoints one by one, as `update_rows` does."""
    for key in keys:
        tx.execute(update(Endpoint).where(Endpoint.id == key).values(ready_at=None))


@pytest.fixture
def rows(own_store: Store) -> tuple[World, list[str], list[str]]:
    """Two endpoints and a delivery to each, their ids in order."""
    if own_store.dialect.name == "sqlite":
        pytest.skip("SQLite locks no rows")
    world = World(own_store)
    for name in "ab":
        world.enqueue(1, f"https://example.com/{name}")
    return (
        world,
        sorted(row.id for row in world.rows(Endpoint)),
        sorted(row.id for row in world.rows(Delivery)),
    )


Rows = tuple[World, list[str], list[str]]
Locks = Callable[[Tx, list[str], list[str]], None]


def delivery_then_endpoint(tx: Tx, endpoint_ids: list[str], message_ids: list[str]) -> None:
    lock_rows(tx, Delivery, message_ids[0])
    lock_rows(tx, Endpoint, endpoint_ids[0])


def delivery_then_update_of_endpoint(tx: Tx, endpoint_ids: list[str], message_ids: list[str]) -> None:
    lock_rows(tx, Delivery, message_ids[0])
    set_ready(tx, endpoint_ids[0])


def two_calls_that_each_lock_in_order(tx: Tx, endpoint_ids: list[str], _: list[str]) -> None:
    lock_rows(tx, Endpoint, endpoint_ids[1])
    lock_rows(tx, Endpoint, endpoint_ids[0])


def two_updates_against_the_order(tx: Tx, endpoint_ids: list[str], _: list[str]) -> None:
    set_ready(tx, *reversed(endpoint_ids))


def endpoint_then_key(tx: Tx, endpoint_ids: list[str], _: list[str]) -> None:
    lock_rows(tx, Endpoint, endpoint_ids[0])
    idempotency.begin(tx, idempotency.keyed("sub", "POST", "/", "key", b""), 1)


@pytest.mark.parametrize(
    "locks",
    [
        delivery_then_endpoint,
        delivery_then_update_of_endpoint,
        two_calls_that_each_lock_in_order,
        two_updates_against_the_order,
        endpoint_then_key,
    ],
)
def test_a_wrong_order_is_seen(rows: Rows, locks: Locks, lock_faults: list[str]) -> None:
    world, endpoint_ids, message_ids = rows
    assert lock_faults == []
    world.store.write(locks, endpoint_ids, message_ids)
    (fault,) = lock_faults
    lock_faults.clear()
    assert "after" in fault
    assert locks.__name__ in fault, "a fault says where it comes from"


def rows_that_are_held(tx: Tx, endpoint_ids: list[str], message_ids: list[str]) -> None:
    lock_rows(tx, Endpoint, *endpoint_ids)
    lock_rows(tx, Delivery, *message_ids)
    set_ready(tx, *reversed(endpoint_ids))
    lock_rows(tx, Endpoint, endpoint_ids[0])


def rows_that_are_passed_over_where_locked(tx: Tx, endpoint_ids: list[str], message_ids: list[str]) -> None:
    lock_rows(tx, Delivery, message_ids[0])
    lock_rows(tx, Endpoint, endpoint_ids[0], skip=True)


@pytest.mark.parametrize("locks", [rows_that_are_held, rows_that_are_passed_over_where_locked])
def test_a_right_order_is_not_taken_for_wrong(rows: Rows, locks: Locks, lock_faults: list[str]) -> None:
    world, endpoint_ids, message_ids = rows
    world.store.write(locks, endpoint_ids, message_ids)
    assert lock_faults == []


def test_the_order_names_each_table_once() -> None:
    assert len(set(LOCK_ORDER)) == len(LOCK_ORDER)
    assert all(issubclass(table, Base) for table in LOCK_ORDER)
    assert LOCK_ORDER[-1] is Upstream
