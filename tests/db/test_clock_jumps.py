"""Effects of setting the clock of a SQLite database's machine, once every process saw it (C10).

With a database server it has none (`test_clock.py`), unless the server's own clock is set.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.common.states import DeliveryStatus, ErrorClass, WatchStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import REFRESH_AFTER, Clock
from relay.db.engine import Store
from relay.db.tables import Watch
from relay.polling.sql import poll_claims
from relay.polling.sql.poll_claims import PollClaim
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from tests.db.test_clock import HOUR, MachineClock
from tests.support.care import housekeeper_of
from tests.support.database import fresh_store
from tests.support.flow import LEASE, World

CALL_INTERVAL = US_PER_SECOND // 10


class JumpingWorld(World):
    """A world whose machine's clock is set from time to time."""

    clock: Clock
    machine: MachineClock

    def jump(self, by: Micros) -> None:
        """Set the machine's clock, and let the relay ask the database for the time again."""
        self.machine.wall_ahead += by
        self.machine.passed += REFRESH_AFTER + 1
        moved = self.clock.now() - self.now
        assert abs(moved - by) < 10 * US_PER_SECOND
        self.now += moved

    def poll(self) -> PollClaim:
        return self.store.write(
            poll_claims.claim,
            LIST_AI_JOB,
            now=self.now,
            lease=LEASE,
            token=self.new_id("t"),
            call_interval=CALL_INTERVAL,
        )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with fresh_store("sqlite", tmp_path) as store:
        yield store


@pytest.fixture
def world(store: Store, monkeypatch: pytest.MonkeyPatch) -> JumpingWorld:
    clock = Clock(store)
    world = JumpingWorld(store, now=clock.now())
    world.clock, world.machine = clock, MachineClock(monkeypatch)
    return world


def test_C10_set_forward_deliveries_in_flight_are_sent_once_more_and_end(world: JumpingWorld) -> None:
    ids = world.enqueue(2)
    in_flight = world.claim().taken
    world.jump(HOUR)
    again = world.claim().taken
    assert sorted(one.id for one in in_flight) == sorted(one.id for one in again) == ids
    assert world.claim().taken == []
    assert set(world.record(in_flight)) == {None}  # too late: these are no longer theirs
    world.record(again)
    assert {world.delivery(one).status for one in ids} == {DeliveryStatus.DELIVERED}
    assert [[row.error for row in world.attempts(one)] for one in ids] == [[ErrorClass.LOST, None]] * 2


def test_C10_set_forward_deliveries_answered_before_the_next_claim_are_not_sent_again(
    world: JumpingWorld,
) -> None:
    ids = world.enqueue(2)
    in_flight = world.claim().taken
    world.jump(HOUR)
    world.record(in_flight)
    assert world.claim().taken == []
    assert [[row.error for row in world.attempts(one)] for one in ids] == [[None]] * 2


def test_C10_set_forward_retries_and_deadlines_come_early(world: JumpingWorld) -> None:
    waiting = world.watch(timeout=1800)
    (failed,) = world.enqueue(1)
    world.record(world.claim().taken, 500, ErrorClass.HTTP_5XX)
    assert world.claim().taken == []
    world.jump(HOUR)
    assert [one.id for one in world.claim().taken] == [failed]
    housekeeper_of(world).run_once()
    (row,) = world.rows(Watch, Watch.id == waiting)
    assert row.status == WatchStatus.EXPIRED


def test_C10_set_back_deliveries_in_flight_end_and_waiting_ones_wait_as_much_longer(
    world: JumpingWorld,
) -> None:
    ids = world.enqueue(3)
    in_flight = world.claim().taken
    assert len(in_flight) == 2  # what a new endpoint is sent at a time
    (waits,) = {*ids} - {one.id for one in in_flight}
    world.jump(-HOUR)
    assert world.claim().taken == []
    world.record(in_flight)
    assert {world.delivery(one.id).status for one in in_flight} == {DeliveryStatus.DELIVERED}
    (new,) = world.enqueue(1)
    assert [one.id for one in world.claim().taken] == [new]
    world.later(HOUR / US_PER_SECOND - 10)
    assert waits not in [one.id for one in world.claim().taken]
    world.later(20)
    assert waits in [one.id for one in world.claim().taken]
    assert [len(world.attempts(one.id)) for one in in_flight] == [1, 1]


def test_C10_set_back_no_job_is_polled_for_as_long_and_then_all_are(world: JumpingWorld) -> None:
    world.watch("old")
    assert [job.job_id for job in world.poll().jobs] == ["old"]
    world.jump(-HOUR)
    world.watch("new")
    held = world.poll()
    assert held.jobs == ()  # the moment of the fleet's next call is an hour ahead, too
    assert held.not_before is not None
    assert abs(held.not_before - world.now - HOUR) < 10 * US_PER_SECOND
    world.later((held.not_before - world.now) / US_PER_SECOND)
    assert "new" in [job.job_id for job in world.poll().jobs]
    world.later(LEASE / US_PER_SECOND + 1)
    assert "old" in [job.job_id for job in world.poll().jobs]
