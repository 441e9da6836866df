"""Bulk retries: ordered over HTTP, worked off by housekeepers."""

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from relay.common.states import DeliveryStatus
from relay.db.engine import Store
from relay.db.tables import BulkRetry, Delivery
from relay.deliveries.sql import bulk_retries
from relay.deliveries.sql.bulk_retries import Filter
from relay.endpoints.sql import endpoint_changes
from relay.subscribers.encryption import Encryption
from tests.support.api import new_caller
from tests.support.care import HOOK, Care, ended, housekeeper_of
from tests.support.flow import World

FAILED = DeliveryStatus.FAILED
OTHER = "https://other.example.com/hook"


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def ordered(care: Care, **body: Any) -> Any:
    got = care.act("/v1/deliveries/retry", body)
    assert got.status == 202
    return got.json


def order(world: World, status: DeliveryStatus = FAILED, endpoint_id: str | None = None) -> str:
    """Give an order for all that was made up to now."""
    matching = Filter(status, endpoint_id, 0, world.now)
    return world.store.write(bulk_retries.order, world.subscriber_id, matching, world.now, world.new_id)


def work_off(world: World) -> list[int]:
    """Work on orders until none is left; how many deliveries each window sent again."""
    windows = []
    while (retried := world.store.write(bulk_retries.work, world.now)) is not None:
        windows.append(retried)
    return windows


def statuses(world: World) -> dict[str, int]:
    return dict(Counter(row.status for row in world.rows(Delivery)))


def test_all_that_match_are_sent_again_with_the_same_ids(care: Care) -> None:
    failed = ended(care.world, 3, FAILED)
    kept = ended(care.world, 1, DeliveryStatus.DELIVERED)
    care.world.later(1)
    said = ordered(care, status="failed")
    assert (said["matched"], said["dry_run"]) == (3, False)
    assert said["order_id"].startswith("bulk_")
    housekeeper_of(care.world).run_once()
    assert {care.shown(delivery_id)["status"] for delivery_id in failed} == {"pending"}
    assert care.shown(kept[0])["status"] == "delivered"
    assert {care.world.delivery(delivery_id).retry_count for delivery_id in failed} == {0}
    care.world.set_endpoint(HOOK, concurrency_limit=10)
    assert {claimed.id for claimed in care.world.claim().taken} == set(failed)
    (row,) = care.world.rows(BulkRetry)
    assert (row.retried, row.due_at) == (3, None)


def test_a_dry_run_only_counts(care: Care) -> None:
    ended(care.world, 2, FAILED)
    care.world.later(1)
    assert ordered(care, status="failed", dry_run=True) == {"matched": 2, "order_id": None, "dry_run": True}
    assert care.world.rows(BulkRetry) == []


def test_nothing_that_matches_is_no_order(care: Care) -> None:
    assert ordered(care, status="cancelled") == {"matched": 0, "order_id": None, "dry_run": False}
    assert care.world.rows(BulkRetry) == []


def test_an_order_can_be_narrowed_to_an_endpoint_and_a_time(care: Care) -> None:
    ended(care.world, 1, FAILED)
    newest = care.shown(ended(care.world, 1, FAILED, OTHER)[0])
    moment = newest["created_at"]
    assert ordered(care, status="failed", dry_run=True)["matched"] == 2
    for narrowed, matched in (
        ({"endpoint_id": newest["endpoint_id"]}, 1),
        ({"since": "2001-01-01T00:00:00Z", "until": "2002-01-01T00:00:00Z"}, 0),
        ({"since": "2100-01-01T00:00:00Z"}, 0),
        ({"until": moment}, 0),
        ({"since": moment}, 2),
    ):
        assert ordered(care, status="failed", dry_run=True, **narrowed)["matched"] == matched
    ordered(care, status="failed", endpoint_id=newest["endpoint_id"])
    work_off(care.world)
    assert care.ids("status=pending") == [newest["id"]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/status"),
        ({"status": "pending"}, "/status"),
        ({"status": "held"}, "/status"),
        ({"status": None}, "/status"),
        ({"status": "failed", "since": 5}, "/since"),
        ({"status": "failed", "until": "yesterday"}, "/until"),
        ({"status": "failed", "dry_run": "yes"}, "/dry_run"),
        ({"status": "failed", "endpoint_id": "ep_1"}, "/endpoint_id"),
        ({"status": "failed", "endpoint_id": f"ep_{'0' * 32}"}, "/endpoint_id"),
        ({"status": "failed", "limit": 5}, ""),
        ([], ""),
    ],
)
def test_a_wrong_order_is_refused_with_its_pointer(care: Care, body: Any, pointer: str) -> None:
    got = care.api.post("/v1/deliveries/retry", body)
    assert (got.status, got.pointers) == (422, [pointer])


def test_another_subscribers_deliveries_and_endpoints_are_out_of_reach(
    care: Care, encryption: Encryption
) -> None:
    ended(care.world, 1, FAILED)
    other = new_caller(care.api.port, care.world.store, encryption, care.world.new_id)
    assert other.post("/v1/deliveries/retry", {"status": "failed"}).json["matched"] == 0
    body = {"status": "failed", "endpoint_id": care.endpoint()}
    assert other.post("/v1/deliveries/retry", body).pointers == ["/endpoint_id"]


def test_an_order_with_an_idempotency_key_is_given_once(care: Care) -> None:
    ended(care.world, 1, FAILED)
    care.world.later(1)
    first, second = (care.api.post("/v1/deliveries/retry", {"status": "failed"}, key="k") for _ in range(2))
    assert first.json["matched"] == 1
    assert first.json == second.json
    assert len(care.world.rows(BulkRetry)) == 1


def test_a_limit_of_orders_is_worked_on_at_once(care: Care) -> None:
    ended(care.world, 1, FAILED)
    care.world.later(1)
    bodies = [{"status": "failed"}] * (bulk_retries.ORDERS + 1)
    answers = [care.api.post("/v1/deliveries/retry", body).status for body in bodies]
    assert answers == [202] * bulk_retries.ORDERS + [429]
    work_off(care.world)
    assert statuses(care.world) == {"pending": 1}


# How an order is worked off.


def test_two_people_at_once_send_nothing_twice(world: World) -> None:
    """Two orders at once, three housekeepers, three dispatchers: each delivery is sent once."""
    ids = {
        delivery_id
        for number in range(3)
        for delivery_id in ended(world, 60, FAILED, f"https://e{number}.example/h")
    }
    for number in range(3):
        world.set_endpoint(f"https://e{number}.example/h", concurrency_limit=10, warmed_up=1)
    world.later(1)
    sent: Counter[str] = Counter()
    lock = threading.Lock()
    barrier = threading.Barrier(5)

    def person() -> None:
        barrier.wait()
        order(world)

    def relay() -> None:
        barrier.wait()
        give_up_at = time.monotonic() + 50
        while time.monotonic() < give_up_at:
            world.store.write(bulk_retries.work, world.now)
            taken = world.claim().taken
            with lock:
                sent.update(claimed.id for claimed in taken)
                done = sum(sent.values()) >= len(ids)
            world.record(taken)
            if done:
                return

    with ThreadPoolExecutor(5) as pool:
        for future in [pool.submit(work) for work in (person, person, relay, relay, relay)]:
            future.result(60)
    work_off(world)
    assert world.claim().taken == []
    assert sent == dict.fromkeys(ids, 1)


def test_a_delivery_that_fails_again_is_not_taken_by_the_same_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ended(world, 2, FAILED)
    world.later(1)
    monkeypatch.setattr(bulk_retries, "WINDOW", 1)
    order(world)
    world.store.write(bulk_retries.work, world.now)
    world.later(1)
    again = update(Delivery).where(Delivery.id.in_(ids), Delivery.status == "pending")
    values = {"status": "failed", "due_at": None, "finished_at": world.now}
    world.store.write(lambda tx: tx.execute(again.values(values)))
    world.later(1)
    assert sum(work_off(world)) == 1


def test_a_long_order_is_worked_off_window_by_window_and_holds_up_no_short_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_retries, "WINDOW", 10)
    ended(world, 45, FAILED)
    short = World(world.store, world.now)
    ended(short, 1, FAILED, OTHER)
    world.later(1)
    short.later(2)
    order(world)
    order(short)
    windows = []
    for _ in range(7):
        world.later(2)
        windows.append(world.store.write(bulk_retries.work, world.now))
    assert windows == [10, 1, 10, 10, 10, 5, None]


def test_an_order_is_a_backlog_behind_which_nothing_new_waits(world: World) -> None:
    again = ended(world, 20, FAILED)
    world.later(1)
    order(world)
    work_off(world)
    world.later(1)
    fresh = world.enqueue(20)
    world.set_endpoint(HOOK, concurrency_limit=10)
    taken = {claimed.id for claimed in world.claim().taken}
    assert (len(taken & set(again)), len(taken & set(fresh))) == (5, 5)


def test_a_paused_endpoint_holds_its_retries_and_a_deleted_endpoint_gets_none(world: World) -> None:
    (held,) = ended(world, 1, FAILED)
    (gone,) = ended(world, 1, FAILED, OTHER)
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)
    values = {"deleted_at": world.now, "url_key": None, "ready_at": None}
    world.set_endpoint(OTHER, **values)
    world.later(1)
    matching = Filter(FAILED, None, 0, world.now)
    assert world.store.read(bulk_retries.count, world.subscriber_id, matching, world.now) == 1
    order(world)
    assert work_off(world) == [1]
    assert world.delivery(held).due_at is not None
    assert world.delivery(gone).status == FAILED
    assert world.claim().taken == []


@pytest.mark.parametrize(("event", "expected"), [("relay.test", 0), ("endpoint.disabled", 1)])
def test_a_test_is_sent_once_and_a_notice_is_a_delivery_like_any_other(
    world: World, event: str, expected: int
) -> None:
    (delivery_id,) = ended(world, 1, FAILED)
    values = {"event": event, "content": json.dumps({}), "watch_id": None}
    world.store.write(
        lambda tx: tx.execute(update(Delivery).where(Delivery.id == delivery_id).values(values))
    )
    world.later(1)
    order(world)
    assert sum(work_off(world)) == expected
