"""`endpoint.disabled` goes to the subscriber's other endpoints that are named for it."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from relay.common.events import ENDPOINT_DISABLED
from relay.common.states import DisabledReason, ErrorClass
from relay.common.time import rfc3339
from relay.db.engine import Store
from relay.db.tables import Delivery
from relay.endpoints.sql import endpoint_changes, endpoint_moves
from relay.housekeeping.sql import notices
from relay.sending.rules.webhook import Notice, render
from tests.support.care import HOOK, housekeeper_of
from tests.support.flow import World

DESK, SHELF = "https://desk.example.com/hook", "https://shelf.example.com/hook"


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def listen_at(world: World, *urls: str) -> None:
    for url in urls:
        world.watch(url=url)
        world.set_endpoint(url, notices=1)


def give_up(world: World) -> None:
    """Answer 410 to a delivery, as the endpoint itself would."""
    world.enqueue(1)
    world.record(world.claim().taken, 410, ErrorClass.HTTP_4XX)


def notices_of(world: World) -> list[Any]:
    return world.rows(Delivery, Delivery.event == ENDPOINT_DISABLED.name)


def test_a_disabled_endpoint_is_told_of_where_the_subscriber_wants_it(world: World) -> None:
    listen_at(world, DESK, SHELF)
    stranger = World(world.store, world.now)
    listen_at(stranger, DESK)
    give_up(world)
    housekeeper_of(world).run_once()
    assert {row.endpoint_id for row in notices_of(world)} == {
        world.endpoint(DESK).id,
        world.endpoint(SHELF).id,
    }
    disabled = world.endpoint()
    for row in notices_of(world):
        body = json.loads(render(Notice(row.event, row.created_at, row.content)))
        assert body == {
            "type": "endpoint.disabled",
            "timestamp": rfc3339(row.created_at),
            "data": {
                "endpoint_id": disabled.id,
                "description": None,
                "reason": "gone",
                "disabled_at": rfc3339(world.now),
                "failing_since": rfc3339(disabled.failing_since),
                "last_error": "http_4xx: it did not work",
            },
        }
    assert len(world.claim().taken) == 2


def test_it_is_notified_once_however_many_housekeepers_run(world: World) -> None:
    listen_at(world, DESK)
    give_up(world)
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(housekeeper_of(world).run_once) for _ in range(4)]:
            future.result(60)
    housekeeper_of(world).run_once()
    assert len(notices_of(world)) == 1
    assert world.store.read(notices.pending) == []


def test_an_endpoint_does_not_hear_of_itself_nor_a_deleted_one_of_anything(world: World) -> None:
    listen_at(world, DESK)
    world.watch()
    world.set_endpoint(HOOK, notices=1)
    world.set_endpoint(DESK, deleted_at=world.now, url_key=None, ready_at=None)
    give_up(world)
    housekeeper_of(world).run_once()
    assert notices_of(world) == []
    assert world.endpoint().notice_at is None


def test_an_endpoint_that_was_resumed_meanwhile_makes_no_notice(world: World) -> None:
    listen_at(world, DESK)
    give_up(world)
    (pending,) = world.store.read(notices.pending)
    world.store.write(endpoint_changes.resume, world.subscriber_id, pending, world.now)
    assert world.store.write(notices.enqueue, pending, world.now, world.new_id) == 0
    assert notices_of(world) == []


def test_a_paused_listener_is_notified_when_it_is_resumed(world: World) -> None:
    listen_at(world, DESK)
    listener = world.endpoint(DESK).id
    world.store.write(endpoint_changes.pause, world.subscriber_id, listener, world.now)
    give_up(world)
    housekeeper_of(world).run_once()
    assert world.claim().taken == []
    world.store.write(endpoint_changes.resume, world.subscriber_id, listener, world.now)
    (claimed,) = world.claim().taken
    assert (claimed.event, claimed.endpoint_id) == (ENDPOINT_DISABLED.name, listener)


def test_listeners_that_are_disabled_together_notify_each_other_and_no_more(world: World) -> None:
    listen_at(world, DESK, SHELF)
    for url in (DESK, SHELF):
        world.store.write(endpoint_moves.disable, world.endpoint(url).id, DisabledReason.FAILING, world.now)
    for _ in range(3):
        housekeeper_of(world).run_once()
    assert len(notices_of(world)) == 2
    assert world.claim().taken == []
