"""Housekeeping fails what waited too long, and cancels what deleted endpoints have pending."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from relay.common.states import DeliveryStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store
from relay.db.tables import Delivery
from relay.deliveries.rules.retry_policy import BLOCKED_TOO_LONG, HELD_TOO_LONG
from relay.deliveries.sql import deliveries, overdue_deliveries
from relay.deliveries.sql.overdue_deliveries import Limit
from relay.endpoints.rules.circuit_breaker import GIVE_UP_PROBES
from relay.endpoints.sql import endpoint_changes, endpoints
from relay.housekeeping.sql import fleet
from relay.watches.sql import endpoint_deletion
from tests.support.care import HOOK, housekeeper_of
from tests.support.flow import LEASE, POLICY, RETENTION, World

DAY = 86_400.0  # seconds
BLOCKED_AFTER = POLICY.longest_wait / US_PER_SECOND


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def pause(world: World) -> None:
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)


def open_circuit(world: World) -> None:
    """It fails for the first time, and its first probes fail too."""
    world.set_endpoint(HOOK, opened_at=world.now, blocked_since=world.now, probe_count=GIVE_UP_PROBES)
    world.set_endpoint(HOOK, open_until=world.now, failing_since=world.now)


def claim(world: World, delivery_id: str, *, until: Micros) -> None:
    claimed = (
        update(Delivery)
        .where(Delivery.id == delivery_id)
        .values(token="t" * 32, due_at=until, attempt_count=Delivery.attempt_count + 1)
    )
    world.store.write(lambda tx: tx.execute(claimed))


def statuses(world: World, ids: list[str]) -> list[str]:
    return [world.delivery(one).status for one in ids]


def test_what_was_held_longer_than_records_are_kept_fails_and_says_why(world: World) -> None:
    ids = world.enqueue(2)
    pause(world)
    world.later(RETENTION / US_PER_SECOND)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["pending"] * 2
    world.later(1)
    later = world.enqueue(1)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["failed"] * 2
    assert {world.delivery(one).last_error for one in ids} == {HELD_TOO_LONG}
    assert statuses(world, later) == ["pending"]


def test_a_delivery_that_is_older_than_the_pause_has_not_been_held_that_long(world: World) -> None:
    ids = world.enqueue(1)
    world.later(29 * DAY)
    pause(world)
    world.later(2 * DAY)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["pending"]


def test_what_was_blocked_for_twice_the_schedule_fails_and_what_came_later_waits(world: World) -> None:
    ids = world.enqueue(1)
    open_circuit(world)
    world.later(BLOCKED_AFTER)
    later = world.enqueue(1)
    world.later(1)
    housekeeper_of(world).run_once()
    assert statuses(world, ids + later) == ["failed", "pending"]
    assert world.delivery(ids[0]).last_error == BLOCKED_TOO_LONG
    assert [one.id for one in world.claim().taken] == later


def test_behind_a_circuit_that_closed_for_a_moment_the_wait_goes_on(world: World) -> None:
    ids = world.enqueue(1)
    first = world.now
    world.later(BLOCKED_AFTER + 1)
    closed = {"opened_at": None, "blocked_since": first, "recovered_at": world.now}
    world.set_endpoint(HOOK, **closed)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["pending"]
    open_circuit(world)
    world.set_endpoint(HOOK, blocked_since=first)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["failed"]


def test_a_circuit_that_opened_a_moment_ago_fails_nothing_however_long_it_was_not_steady(
    world: World,
) -> None:
    ids = world.enqueue(1)
    first = world.now
    world.later(BLOCKED_AFTER + 1)
    open_circuit(world)
    world.set_endpoint(HOOK, blocked_since=first, probe_count=GIVE_UP_PROBES - 1)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["pending"]


def test_what_was_cancelled_while_it_was_lost_reads_cancelled_not_failed(world: World) -> None:
    (one,) = world.enqueue(1)
    open_circuit(world)
    claim(world, one, until=world.now + US_PER_SECOND)
    asked = update(Delivery).where(Delivery.id == one).values(cancel_requested=1)
    world.store.write(lambda tx: tx.execute(asked))
    world.later(BLOCKED_AFTER + 1)
    housekeeper_of(world).run_once()
    assert statuses(world, [one]) == ["cancelled"]


def test_a_few_overdue_deliveries_do_not_make_the_next_check_come_at_once(world: World) -> None:
    ids = world.enqueue(1)
    open_circuit(world)
    world.later(BLOCKED_AFTER + 1)
    assert housekeeper_of(world).run_once() > 0
    assert statuses(world, ids) == ["failed"]


def test_an_endpoint_on_which_our_code_fails_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"https://{name}.example/hook" for name in ("first", "second")]
    ids = {url: world.enqueue(1, url)[0] for url in urls}
    owners = {world.endpoint(url).id: url for url in urls}
    for endpoint_id in owners:
        world.store.write(endpoint_changes.pause, world.subscriber_id, endpoint_id, world.now)
    world.later(RETENTION / US_PER_SECOND + 1)
    overdue, broken = overdue_deliveries.overdue, min(owners)
    monkeypatch.setattr(
        overdue_deliveries,
        "overdue",
        lambda tx, one, *more: 1 // 0 if one == broken else overdue(tx, one, *more),
    )
    housekeeper_of(world).run_once()
    found = {owners[one]: world.delivery(ids[owners[one]]).status for one in owners}
    assert found == {url: "pending" if owners[broken] == url else "failed" for url in urls}


def test_what_is_overdue_is_found_behind_any_number_that_are_not(world: World) -> None:
    ids = world.enqueue(2)
    open_circuit(world)
    world.later(BLOCKED_AFTER)
    newer = world.enqueue(20)
    world.later(1)
    to_the_end = update(Delivery).where(Delivery.id.in_(ids)).values(due_at=world.now)
    world.store.write(lambda tx: tx.execute(to_the_end))  # as failed probes do
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overdue_deliveries, "BATCH", 5)
        housekeeper_of(world).run_once()
    assert set(statuses(world, ids)) == {"failed"}
    assert set(statuses(world, newer)) == {"pending"}


def test_what_is_held_behind_an_open_circuit_keeps_to_the_longer_limit(world: World) -> None:
    ids = world.enqueue(1)
    open_circuit(world)
    pause(world)
    world.later(BLOCKED_AFTER + 1)
    housekeeper_of(world).run_once()
    assert statuses(world, ids) == ["pending"]


def test_what_is_in_flight_is_left_alone_and_a_dead_lease_is_not(world: World) -> None:
    alive, dead = world.enqueue(2)
    pause(world)
    world.later(RETENTION / US_PER_SECOND + 1)
    claim(world, alive, until=world.now + LEASE)
    claim(world, dead, until=world.now)
    housekeeper_of(world).run_once()
    assert statuses(world, [alive, dead]) == ["pending", "failed"]
    assert [(one.number, one.error) for one in world.attempts(dead)] == [(1, "lost")]
    assert world.attempts(alive) == []


def resume(world: World) -> None:
    world.store.write(endpoint_changes.resume, world.subscriber_id, world.endpoint().id, world.now)


def resume_and_pause(world: World) -> None:
    resume(world)
    pause(world)


def answer(world: World) -> None:
    world.record(world.claim().taken[:1])


def send_again(world: World) -> None:
    """As if each had ended, and was sent again."""
    world.store.write(lambda tx: tx.execute(update(Delivery).values(schedule_started_at=world.now)))


@pytest.mark.parametrize(
    ("hold", "let_go"),
    [
        (pause, resume),
        (pause, resume_and_pause),
        (pause, send_again),
        (open_circuit, resume),
        (open_circuit, answer),
        (open_circuit, pause),
    ],
)
def test_what_was_let_go_between_the_read_and_the_lock_does_not_fail(
    world: World, hold: Callable[[World], None], let_go: Callable[[World], None]
) -> None:
    ids = world.enqueue(3)
    hold(world)
    world.later(1)
    limit = (
        overdue_deliveries.held_limit(world.now)
        if hold is pause
        else overdue_deliveries.blocked_limit(world.now)
    )
    (endpoint_id,) = world.store.read(overdue_deliveries.endpoints_over, limit)
    found = world.store.read(overdue_deliveries.overdue, endpoint_id, limit, world.now)
    assert found == ids
    let_go(world)
    assert fail(world, endpoint_id, found, limit) == 0
    assert "failed" not in statuses(world, ids)


def fail(world: World, endpoint_id: str, found: list[str], limit: Limit) -> int:
    return world.store.write(
        overdue_deliveries.fail_overdue, endpoint_id, found, limit, world.now, world.new_id
    )


def test_what_is_claimed_between_the_read_and_the_lock_is_left_to_its_result(world: World) -> None:
    first, second = ids = world.enqueue(2)
    open_circuit(world)
    limit = overdue_deliveries.blocked_limit(world.later(1))
    endpoint_id = world.endpoint().id
    found = world.store.read(overdue_deliveries.overdue, endpoint_id, limit, world.now)
    assert found == ids
    claim(world, first, until=world.now + LEASE)
    assert fail(world, endpoint_id, found, limit) == 1
    assert statuses(world, [first, second]) == ["pending", "failed"]


def test_the_search_for_overdue_deliveries_waits_for_no_lock(world: World) -> None:
    """On SQLite one writer locks all: searching a long queue must not be a write."""
    ids = world.enqueue(2)
    pause(world)
    world.set_endpoint(HOOK, held_at=world.now - RETENTION - US_PER_SECOND)
    housekeeper = housekeeper_of(world)
    with world.store.engine.begin() as writer:
        endpoints.lock_in_order(writer, [world.endpoint().id])
        assert housekeeper._fail_overdue() == 0
    assert statuses(world, ids) == ["pending"] * 2


def test_a_long_backlog_fails_in_batches_one_after_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue_deliveries, "BATCH", 10)
    ids = world.enqueue(25)
    pause(world)
    world.later(RETENTION / US_PER_SECOND + 1)
    housekeeper = housekeeper_of(world)
    waits = [housekeeper.run_once() for _ in range(4)]
    assert waits[:2] == [0.0] * 2
    assert waits[2] > 0
    assert set(statuses(world, ids)) == {"failed"}


def test_a_long_backlog_of_a_deleted_endpoint_is_cancelled_and_not_sent_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "CANCEL_BATCH", 10)
    ids = world.enqueue(25)
    (in_flight, lost) = world.claim().taken
    endpoint_id = world.endpoint().id
    world.store.write(endpoint_deletion.delete, world.subscriber_id, endpoint_id, world.now)
    assert statuses(world, ids).count("cancelled") == 10
    assert world.claim().taken == []
    assert world.store.read(fleet.numbers, world.now).deliveries_held == 0
    housekeeper = housekeeper_of(world)
    for _ in range(4):
        housekeeper.run_once()
    assert statuses(world, ids).count("cancelled") == 23
    world.record([in_flight])
    world.later(LEASE / US_PER_SECOND)
    housekeeper_of(world).run_once()
    found = statuses(world, ids)
    assert (found.count("cancelled"), found.count("delivered")) == (24, 1)
    assert [(one.number, one.error) for one in world.attempts(lost.id)] == [(1, "lost")]
    assert world.rows(Delivery, Delivery.status == DeliveryStatus.PENDING) == []
