"""Watches expire at their deadline, whatever number of housekeepers run."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from relay.common.errors import StoreUnavailable
from relay.common.ids import NewId
from relay.common.states import DisabledReason, WatchStatus
from relay.common.time import Micros
from relay.db.engine import Store, Tx
from relay.db.tables import Delivery, Job, Watch
from relay.deliveries.sql import bulk_retries, overdue_deliveries
from relay.endpoints.sql import endpoint_moves
from relay.housekeeping import housekeeper
from relay.housekeeping.housekeeper import CHECK_EVERY, EXPIRE_BATCH
from relay.housekeeping.sql import notices, prune
from tests.support.care import housekeeper_of
from tests.support.flow import World

HOOK = "https://example.com/hook"


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def statuses(world: World) -> dict[str, int]:
    seen = [row.status for row in world.rows(Watch)]
    return {status: seen.count(status) for status in seen}


def test_a_watch_whose_endpoint_is_gone_ends_cancelled_and_owes_nothing(world: World) -> None:
    world.watch(timeout=60)
    kept = world.watch(url="https://kept.example/hook", timeout=60)
    world.set_endpoint(HOOK, deleted_at=world.now, url_key=None, ready_at=None)  # as it was being registered
    world.later(60)
    housekeeper_of(world).run_once()
    assert statuses(world) == {WatchStatus.CANCELLED: 1, WatchStatus.EXPIRED: 1}
    assert [row.watch_id for row in world.rows(Delivery)] == [kept]
    assert [row.due_at for row in world.rows(Job)] == [None, None]


def test_many_that_are_overdue_end_in_several_turns_oldest_first(world: World) -> None:
    world.register(*(world.request(f"job{n}", timeout=60 + n // EXPIRE_BATCH) for n in range(250)))
    world.later(120)
    worker = housekeeper_of(world)
    seen = []
    for _ in range(3):
        worker.run_once()
        seen.append(len(world.rows(Watch, Watch.status == WatchStatus.EXPIRED)))
    assert seen == [100, 200, 250]
    pending = world.rows(Delivery)
    assert len({row.watch_id for row in pending}) == len(pending) == 250
    assert {row.event for row in pending} == {"watch.expired"}
    assert {row.due_at for row in world.rows(Job)} == {None}


def test_a_turn_with_more_to_do_asks_for_the_next_at_once(world: World) -> None:
    world.register(*(world.request(f"job{n}", timeout=60) for n in range(EXPIRE_BATCH + 1)))
    world.later(60)
    worker = housekeeper_of(world)
    assert worker.run_once() == 0
    assert worker.run_once() > 0


def test_housekeepers_at_once_end_each_watch_once(world: World) -> None:
    world.register(*(world.request(f"job{n}", timeout=60) for n in range(250)))
    world.later(60)

    def work_off() -> None:
        worker = housekeeper_of(world)
        while world.rows(Watch, Watch.due_at.is_not(None)):
            worker.run_once()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work_off) for _ in range(3)]:
            future.result(60)
    assert statuses(world) == {WatchStatus.EXPIRED: 250}
    assert len({row.watch_id for row in world.rows(Delivery)}) == len(world.rows(Delivery)) == 250


def test_the_next_look_is_at_the_next_deadline_or_soon(world: World) -> None:
    worker = housekeeper_of(world)
    assert worker.run_once() == CHECK_EVERY
    world.watch(timeout=60)
    assert worker.run_once() == CHECK_EVERY
    world.later(59.9)
    assert worker.run_once() == pytest.approx(0.1)
    world.later(0.1)
    assert worker.run_once() == CHECK_EVERY
    assert statuses(world) == {WatchStatus.EXPIRED: 1}


def test_old_records_are_pruned_batch_after_batch_without_a_pause(world: World) -> None:
    made = world.register(*(world.request("job", metadata=f'{{"n":{n}}}') for n in range(prune.BATCH + 1)))
    world.end_job(made[0].watch_id)
    cancelled = {"status": "cancelled", "due_at": None, "finished_at": world.now}
    world.store.write(lambda tx: tx.execute(update(Delivery).values(cancelled)))
    world.later(31 * 86_400)
    worker = housekeeper_of(world)
    waits = [worker.run_once() for _ in range(3)]
    assert waits[:2] == [0, 0]
    assert waits[2] > 0
    assert world.rows(Delivery) == world.rows(Watch) == world.rows(Job) == []


def test_a_chore_that_our_code_fails_on_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = [f"https://{name}.example/hook" for name in ("first", "second")]
    for url in urls:
        world.enqueue(1, url)
        world.store.write(endpoint_moves.disable, world.endpoint(url).id, DisabledReason.GONE, world.now)
    enqueue = notices.enqueue
    broken = min(world.endpoint(url).id for url in urls)

    def enqueue_all_but_one(tx: Tx, endpoint_id: str, now: Micros, new_id: NewId) -> int:
        return 1 // 0 if endpoint_id == broken else enqueue(tx, endpoint_id, now, new_id)

    monkeypatch.setattr(notices, "enqueue", enqueue_all_but_one)
    monkeypatch.setattr(overdue_deliveries, "held_limit", lambda _before: 1 // 0)
    monkeypatch.setattr(housekeeper, "expire", lambda *_: 1 // 0)
    ended = {"status": "failed", "due_at": None, "finished_at": world.now}
    world.store.write(lambda tx: tx.execute(update(Delivery).values(ended)))
    overdue = world.watch(timeout=60)
    world.later(31 * 86_400)
    worker = housekeeper_of(world)
    worker.run_once()
    assert world.store.read(notices.pending) == [broken]
    assert overdue in [row.id for row in world.rows(Watch)]
    assert world.rows(Delivery) == []  # pruned
    assert [worker.run_once() for _ in range(3)][-1] == CHECK_EVERY  # what fails is not tried without a pause


def test_a_database_that_is_gone_ends_the_turn_at_the_first_chore_that_notices(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(tx: Tx) -> list[str]:
        asked.append(tx)
        raise StoreUnavailable("gone")

    for chore, question in (
        (notices, "pending"),
        (bulk_retries, "is_due"),
        (overdue_deliveries, "deleted_endpoints"),
    ):
        monkeypatch.setattr(chore, question, away)
    with pytest.raises(StoreUnavailable):
        housekeeper_of(world).run_once()
    assert len(asked) == 1


def test_a_check_for_overdue_deliveries_that_the_database_ends_waits_for_its_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that takes too long reads as a lost database: expiry and pruning must go on."""
    asked = []

    def away(tx: Tx, _limit: overdue_deliveries.Limit) -> list[str]:
        asked.append(tx)
        raise StoreUnavailable("it took too long")

    monkeypatch.setattr(overdue_deliveries, "endpoints_over", away)
    worker = housekeeper_of(world)
    with pytest.raises(StoreUnavailable):
        worker.run_once()
    assert [worker.run_once() for _ in range(3)] == [CHECK_EVERY] * 3
    assert len(asked) == 1
