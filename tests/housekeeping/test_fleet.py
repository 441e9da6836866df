"""The fleet's numbers, on every database: endpoints that do not send are counted by the reason."""

import pytest

from relay.common.states import DisabledReason
from relay.db.engine import Store
from relay.endpoints.sql import endpoint_changes, endpoint_moves
from relay.housekeeping.sql import fleet
from tests.support.flow import World

URLS = tuple(f"https://{name}.example/hook" for name in ("well", "open", "paused", "disabled", "deleted"))


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def unwell(world: World) -> tuple[int, int, int]:
    """How many are open, paused and disabled."""
    found = world.store.read(fleet.numbers, world.now)
    return found.endpoints_open, found.endpoints_paused, found.endpoints_disabled


def test_endpoints_are_counted_by_what_ails_them_and_each_once(world: World) -> None:
    for url in URLS:
        world.enqueue(1, url)
    assert unwell(world) == (0, 0, 0)
    world.set_endpoint(URLS[1], opened_at=world.now)
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint(URLS[2]).id, world.now)
    for url in URLS[3:]:
        world.set_endpoint(url, opened_at=world.now)
        world.store.write(endpoint_moves.disable, world.endpoint(url).id, DisabledReason.GONE, world.now)
    world.set_endpoint(URLS[4], deleted_at=world.now, url_key=None)
    assert unwell(world) == (1, 1, 1)
    world.store.write(endpoint_changes.resume, world.subscriber_id, world.endpoint(URLS[1]).id, world.now)
    assert unwell(world) == (0, 1, 1)
