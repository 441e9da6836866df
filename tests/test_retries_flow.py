"""After an outage: how a backlog is let go, and what every dispatcher knows of the failures (R5, R6)."""

from itertools import pairwise
from pathlib import Path

import pytest

from relay.core.pace import FIRST_ALLOWANCE, OPEN_AFTER
from relay.core.states import ErrorClass
from relay.sandbox.receiver import Answer, Receiver
from relay.store.engine import Store
from relay.store.tables import Delivery
from tests.support_dispatch import running_fleet
from tests.support_flow import World
from tests.support_processes import wait_until

HOOK = "https://example.com/hook"
OUTAGE = 3600  # seconds
LIMIT = 40


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def fail_until_open(world: World) -> None:
    """Let the endpoint fail until its circuit opens."""
    while world.endpoint().opened_at is None:
        world.settle(world.claim().taken, 503, ErrorClass.HTTP_5XX)
        world.later(7)


def ramp(world: World) -> list[int]:
    """How many are claimed at each round trip, all of them answered with 200, until nothing is due."""
    sizes = []
    while taken := world.claim().taken:
        sizes.append(len(taken))
        world.later(0.1)
        world.settle(taken)
    return sizes


def test_R5_after_an_hours_outage_the_backlog_ramps_up(world: World) -> None:
    world.owe(120)
    world.set_endpoint(HOOK, max_in_flight=LIMIT)
    fail_until_open(world)
    world.later(OUTAGE)
    (probe,) = world.claim().taken
    assert world.claim().taken == []
    world.settle([probe])
    sizes = ramp(world)
    assert sum(sizes) == 119
    assert sizes[0] == FIRST_ALLOWANCE
    assert all(after <= 2 * before for before, after in pairwise(sizes))
    assert LIMIT // 2 < max(sizes) <= LIMIT
    assert {row.status for row in world.rows(Delivery)} == {"delivered"}


def test_R6_failures_are_counted_across_processes_that_come_and_go(
    own_database_url: str, tmp_path: Path
) -> None:
    with (
        running_fleet(own_database_url, tmp_path) as fleet,
        Receiver(answer=lambda _one: Answer(500)) as receiver,
    ):
        url = f"{receiver.url}/hook"
        fleet.owe([url] * 30)
        relay = fleet.dispatcher()
        wait_until(lambda: fleet.world.endpoint(url).failure_streak >= 2, 20, "it has failed twice")
        assert relay.stop() == {"dispatcher": 0}
        before = fleet.world.endpoint(url).failure_streak
        assert before < OPEN_AFTER
        fleet.dispatcher()
        wait_until(lambda: fleet.world.endpoint(url).opened_at, 20, "the circuit is open")
        wait_until(lambda: fleet.errors()["http_5xx"] == receiver.count, 10, "nothing is in flight")
        assert fleet.world.endpoint(url).failure_streak == receiver.count
        assert receiver.count <= OPEN_AFTER + 1
