"""Circuit, disabling, recovery and fairness on every database: kept in rows, for all."""

from collections import Counter

import pytest
from sqlalchemy import update

from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import US_PER_SECOND
from relay.db.engine import Store
from relay.db.tables import Delivery, Endpoint
from relay.deliveries.rules.retry_policy import BLOCKED_TOO_LONG
from relay.deliveries.sql import bulk_retries, deliveries, endpoint_selection
from relay.deliveries.sql.bulk_retries import Filter
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.endpoints.rules.circuit_breaker import (
    DISABLE_SPAN,
    FIRST_CONCURRENCY_LIMIT,
    FIRST_PROBE,
    GIVE_UP_PROBES,
    LONGEST_PROBE,
    OPEN_AFTER,
    STEADY_AFTER,
)
from relay.endpoints.sql import endpoint_changes
from tests.support.flow import POLICY, World

HOOK = "https://example.com/hook"


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def open_the_circuit(world: World, spare: int = 5) -> None:
    """Ten attempts fail at once; a few more deliveries are pending."""
    world.enqueue(OPEN_AFTER + spare)
    world.set_endpoint(HOOK, concurrency_limit=OPEN_AFTER, warmed_up=1)
    taken = world.claim().taken
    assert len(taken) == OPEN_AFTER
    world.record(taken, 503, ErrorClass.HTTP_5XX)


def fail_until_it_opens(world: World) -> None:
    while world.endpoint().opened_at is None:
        world.record(world.claim().taken, 503, ErrorClass.HTTP_5XX)
        world.later(1)


def probe(world: World, *, succeeds: bool) -> str:
    """A quarter of an hour later, when a probe is surely due; returns its delivery's id."""
    world.later(LONGEST_PROBE / 1e6 * 1.5)
    (one,) = world.claim().taken
    world.record([one], *((200, None) if succeeds else (503, ErrorClass.HTTP_5XX)))
    return one.id


def fail_probes_until_waits_end(world: World) -> None:
    for _ in range(GIVE_UP_PROBES):
        probe(world, succeeds=False)


def test_I4_an_open_circuit_lets_one_probe_through_and_uses_up_no_retry(world: World) -> None:
    open_the_circuit(world)
    assert world.endpoint().opened_at == world.now
    world.later(FIRST_PROBE / 1e6 - 0.001)
    assert world.claim().taken == []
    world.later(3)
    (probe,) = world.claim().taken
    assert world.claim().taken == []
    world.record([probe], 503, ErrorClass.HTTP_5XX)
    row = world.delivery(probe.id)
    assert (row.status, row.retry_count) == ("pending", 0)
    assert world.endpoint().probe_count == 1
    assert world.claim().taken == []
    world.later(25)
    (second,) = world.claim().taken
    assert second.id != probe.id  # the failed one went to the end of the queue
    world.record([second])
    assert world.endpoint().opened_at is None
    assert len(world.claim().taken) == FIRST_CONCURRENCY_LIMIT


def test_the_opening_failures_used_up_a_retry_each_and_those_after_it_none(world: World) -> None:
    open_the_circuit(world)
    retry_delays = Counter(row.retry_count for row in world.rows(Delivery))
    assert retry_delays == {1: OPEN_AFTER, 0: 5}


def test_what_waited_twice_the_schedules_length_behind_an_open_circuit_fails(world: World) -> None:
    open_the_circuit(world)
    fail_probes_until_waits_end(world)
    world.later(POLICY.longest_wait / 1e6 + 1)
    row = world.delivery(probe(world, succeeds=False))
    assert row.status == "failed"
    assert row.last_error.startswith(BLOCKED_TOO_LONG)
    assert "http_5xx" in row.last_error


def test_what_a_pause_held_for_weeks_has_not_waited_behind_the_circuit_that_opens_then(world: World) -> None:
    ids = world.enqueue(OPEN_AFTER + 2)
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)
    world.later(2 * POLICY.longest_wait / 1e6)
    world.store.write(endpoint_changes.resume, world.subscriber_id, world.endpoint().id, world.now)
    fail_until_it_opens(world)
    fail_probes_until_waits_end(world)
    assert {world.delivery(one).status for one in ids} == {"pending"}
    world.later(POLICY.longest_wait / 1e6)
    assert world.delivery(probe(world, succeeds=False)).status == "failed"


def test_an_endpoint_that_answers_now_and_then_keeps_nothing_longer_than_one_that_never_does(
    world: World,
) -> None:
    open_the_circuit(world, spare=40)
    first = world.now
    while world.now < first + POLICY.longest_wait - 1000 * US_PER_SECOND:
        probe(world, succeeds=True)
        fail_until_it_opens(world)
    assert world.endpoint().blocked_since == first < world.endpoint().opened_at
    fail_probes_until_waits_end(world)
    assert world.delivery(probe(world, succeeds=False)).last_error.startswith(BLOCKED_TOO_LONG)


def test_a_hiccup_of_an_endpoint_long_not_steady_fails_nothing_of_its_old_backlog(world: World) -> None:
    ids = world.enqueue(2 * OPEN_AFTER)
    first = world.now
    world.later(POLICY.longest_wait / 1e6 + 1)
    world.set_endpoint(HOOK, blocked_since=first, recovered_at=world.now, warmed_up=1)
    world.set_endpoint(HOOK, max_in_flight=2 * OPEN_AFTER, concurrency_limit=2 * OPEN_AFTER)
    in_flight = [world.result(one, 503, ErrorClass.HTTP_5XX) for one in world.claim().taken]
    assert len(in_flight) == 2 * OPEN_AFTER
    world.later(1)
    world.record_batch(in_flight)
    assert world.endpoint().blocked_since == first
    fail_probes_until_waits_end(world)
    assert {world.delivery(one).status for one in ids} == {"pending"}
    assert world.delivery(probe(world, succeeds=False)).status == "failed"


def test_an_endpoint_that_was_steady_for_an_hour_lets_what_it_blocks_wait_anew(world: World) -> None:
    open_the_circuit(world, spare=40)
    first = world.now
    probe(world, succeeds=True)
    world.later(STEADY_AFTER / 1e6)
    fail_until_it_opens(world)
    again = world.endpoint().opened_at
    assert world.endpoint().blocked_since == again
    world.set_endpoint(HOOK, probe_count=GIVE_UP_PROBES)
    old = probe(world, succeeds=False)
    assert world.now > first + POLICY.longest_wait
    assert world.delivery(old).status == "pending"
    world.later((again + POLICY.longest_wait - world.now) / 1e6)
    assert world.delivery(probe(world, succeeds=False)).last_error.startswith(BLOCKED_TOO_LONG)


@pytest.mark.parametrize("is_open", [True, False])
def test_whoever_resumes_an_endpoint_that_flaps_lets_what_it_blocks_wait_anew(
    world: World, *, is_open: bool
) -> None:
    open_the_circuit(world, spare=20)
    if not is_open:
        probe(world, succeeds=True)
    world.store.write(endpoint_changes.resume, world.subscriber_id, world.endpoint().id, world.now)
    fail_until_it_opens(world)
    assert world.endpoint().blocked_since == world.endpoint().opened_at


@pytest.mark.parametrize(("closed_for", "starts_anew"), [(STEADY_AFTER, True), (STEADY_AFTER // 2, False)])
def test_an_order_to_send_again_hides_neither_a_steady_time_nor_a_flap(
    world: World, closed_for: int, *, starts_anew: bool
) -> None:
    """It says as of when there is a backlog, as a recovery does."""
    open_the_circuit(world, spare=20)
    first = world.now
    probe(world, succeeds=True)
    recovered_at = world.now
    world.now += closed_for
    wanted = Filter(DeliveryStatus.DELIVERED, None, 0, world.now)
    world.store.write(bulk_retries.order, world.subscriber_id, wanted, world.now, world.new_id)
    assert world.store.write(bulk_retries.work, world.now) == 1
    assert world.endpoint().recovered_at > recovered_at
    fail_until_it_opens(world)
    assert (world.endpoint().blocked_since == first) is not starts_anew


def test_a_410_disables_at_once_and_everything_is_held_without_using_up_a_retry(world: World) -> None:
    ids = world.enqueue(4)
    taken = world.claim().taken
    batch = [
        world.result(taken[0], 410, ErrorClass.HTTP_4XX),
        world.result(taken[1], 500, ErrorClass.HTTP_5XX),
    ]
    result = world.record_batch(batch)
    assert [(change.became, change.detail) for change in result.changes] == [("disabled", "gone")]
    row = world.endpoint()
    assert (row.status, row.disabled_reason, row.ready_at, row.held_at) == (
        "disabled",
        "gone",
        None,
        world.now,
    )
    assert {world.delivery(one).status for one in ids} == {"pending"}
    assert {world.delivery(one).retry_count for one in ids} == {0}
    world.enqueue(1)
    world.later(86_400)
    assert world.claim().taken == []


def test_failing_for_five_days_disables_at_a_failure(world: World) -> None:
    open_the_circuit(world, spare=1)
    world.later(DISABLE_SPAN / 1e6)
    (probe,) = world.claim().taken
    world.record([probe], 503, ErrorClass.HTTP_5XX)
    row = world.endpoint()
    assert (row.status, row.disabled_reason) == ("disabled", "failing")


def test_resume_lets_go_what_was_held_oldest_first_and_slowly(world: World) -> None:
    (gone,) = world.enqueue(1)
    world.record(world.claim().taken, 410, ErrorClass.HTTP_4XX)
    held = [gone]
    for _ in range(6):
        world.later(1)
        held += world.enqueue(1)
    world.store.write(endpoint_changes.resume, world.subscriber_id, world.endpoint().id, world.later(1))
    row = world.endpoint()
    assert (row.status, row.disabled_reason, row.held_at) == ("active", None, None)
    sent: list[str] = []
    sizes = []
    while taken := world.claim().taken:
        sizes.append(len(taken))
        sent += [one.id for one in taken]
        world.record(taken)
    assert sent == held
    assert sizes == [2, 4, 1]


def test_R5_what_comes_after_the_resume_is_not_stuck_behind_the_backlog(world: World) -> None:
    world.enqueue(40)
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)
    world.later(60)
    world.store.write(endpoint_changes.resume, world.subscriber_id, world.endpoint().id, world.now)
    world.later(1)
    new = set(world.enqueue(4))
    sent: list[str] = []
    for _ in range(4):
        taken = world.claim().taken
        sent += [one.id for one in taken]
        world.record(taken)
    assert new <= set(sent)
    assert len(sent) < 40


def test_a_paused_endpoint_finishes_what_is_in_flight_and_sends_nothing_new(world: World) -> None:
    world.enqueue(4)
    taken = world.claim().taken
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)
    world.record(taken)
    assert world.endpoint().ready_at is None
    assert world.claim().taken == []
    assert Counter(row.status for row in world.rows(Delivery)) == {"delivered": 2, "pending": 2}


def test_a_test_is_sent_while_paused_once_and_changes_no_health(world: World) -> None:
    world.enqueue(1)
    endpoint_id = world.endpoint().id
    world.store.write(endpoint_changes.pause, world.subscriber_id, endpoint_id, world.now)
    before = world.endpoint()
    test_id = world.store.write(
        deliveries.send_test, world.subscriber_id, endpoint_id, world.now, world.new_id
    )
    (claimed,) = world.claim().taken
    assert (claimed.id, claimed.event) == (test_id, "relay.test")
    assert world.claim().taken == []
    world.record([claimed], 500, ErrorClass.HTTP_5XX)
    assert world.delivery(test_id).status == DeliveryStatus.FAILED
    assert world.endpoint() == before
    assert len(world.attempts(test_id)) == 1


def test_a_test_whose_process_died_is_sent_again(world: World) -> None:
    world.enqueue(1)
    test_id = world.store.write(
        deliveries.send_test, world.subscriber_id, world.endpoint().id, world.now, world.new_id
    )
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)
    world.claim()
    world.later(61)
    (again,) = world.claim().taken
    world.record([again])
    assert world.delivery(test_id).status == DeliveryStatus.DELIVERED
    assert [row.error for row in world.attempts(test_id)] == ["lost", None]


def test_R6_failures_are_counted_across_dispatchers_and_restarts(world: World) -> None:
    """Each dispatcher claims and records by itself; they have nothing in common but rows."""
    world.enqueue(OPEN_AFTER + 1)
    world.set_endpoint(HOOK, concurrency_limit=OPEN_AFTER, warmed_up=1)
    taken = world.claim().taken
    for one in taken:
        world.record([one], 503, ErrorClass.HTTP_5XX)
    assert world.endpoint().failure_streak == OPEN_AFTER
    assert world.endpoint().opened_at is not None


def test_subscribers_share_a_claim_evenly(world: World) -> None:
    """One with forty endpoints and one with a single endpoint: each gets half of what there is."""
    big = world.subscriber_id
    for number in range(40):
        world.enqueue(5, f"https://big{number}.example/hook")
    small = world.subscriber_id = world.new_subscriber()
    world.enqueue(30, "https://small.example/hook")
    world.store.write(
        lambda tx: tx.execute(update(Endpoint).values(warmed_up=1, concurrency_limit=20, max_in_flight=20))
    )
    held = fill(world, 20)
    assert held.keys() == {big, small}
    assert 9 <= held[small] <= 11


def fill(world: World, slots: int, **held: int) -> Counter[str]:
    """Claim as a dispatcher does until its slots are taken; how many each subscriber holds."""
    holding = Counter(held)
    for _ in range(20):
        rotation = world.store.read(endpoint_selection.ready_subscribers, world.now)
        free = slots - sum(holding.values())
        capacity = ClaimCapacity(
            slots=free, cold_slots=free, payload_bytes=1 << 27, rotation=rotation, held=dict(holding)
        )
        holding.update(one.subscriber_id for one in world.claim(capacity).taken)
    return holding


def test_what_one_subscriber_leaves_the_others_get(world: World) -> None:
    big = world.subscriber_id
    world.enqueue(30, "https://big.example/hook")
    small = world.subscriber_id = world.new_subscriber()
    world.enqueue(2, "https://small.example/hook")
    world.store.write(
        lambda tx: tx.execute(update(Endpoint).values(warmed_up=1, concurrency_limit=30, max_in_flight=30))
    )
    assert fill(world, 30, **{big: 10}) == {big: 28, small: 2}


def test_a_rate_limit_holds_over_many_claims(world: World) -> None:
    world.enqueue(60)
    world.set_endpoint(HOOK, rate_per_second=100.0, max_in_flight=50, concurrency_limit=50, warmed_up=1)
    started_at = world.now
    starts: list[int] = []
    while len(starts) < 60:
        taken = world.claim().taken
        starts += [world.now] * len(taken)
        world.record(taken)
        world.later(0.003)
    for second in range(started_at, world.now, US_PER_SECOND // 10):
        assert sum(second <= at < second + US_PER_SECOND // 10 for at in starts) <= 10 + 5


def test_pausing_a_disabled_endpoint_keeps_it_disabled(world: World) -> None:
    world.enqueue(1)
    world.record(world.claim().taken, 410, ErrorClass.HTTP_4XX)
    world.store.write(endpoint_changes.pause, world.subscriber_id, world.endpoint().id, world.now)
    assert world.endpoint().status == "disabled"


def test_a_retry_after_at_an_open_circuit_is_honoured(world: World) -> None:
    open_the_circuit(world, spare=0)
    world.later(13)
    (one,) = world.claim().taken
    batch = [world.result(one, 503, ErrorClass.HTTP_5XX, retry_after="120")]
    world.record_batch(batch)
    assert world.delivery(one.id).due_at >= world.now + 120 * US_PER_SECOND


def test_hundreds_of_recovered_endpoints_are_claimed_from_at_once(world: World) -> None:
    """Each has two lookups, its backlog and its new rows: twice the branches of one statement."""
    for number in range(150):
        world.enqueue(1, f"https://back{number}.example/hook")
    world.store.write(
        lambda tx: tx.execute(
            update(Endpoint).values(warmed_up=1, concurrency_limit=5, recovered_at=world.now - US_PER_SECOND)
        )
    )
    capacity = ClaimCapacity(slots=150, cold_slots=10, payload_bytes=1 << 27, scan_factor=10)
    assert len(world.claim(capacity).taken) == 150


def test_a_new_endpoint_is_not_starved_by_backlogs_of_its_own_subscriber(world: World) -> None:
    for number in range(20):
        world.enqueue(10, f"https://busy{number}.example/hook")
    world.store.write(lambda tx: tx.execute(update(Endpoint).values(warmed_up=1, concurrency_limit=10)))
    world.enqueue(1)
    taken = world.claim(ClaimCapacity(slots=20, cold_slots=10, payload_bytes=1 << 27, scan_factor=2.0)).taken
    assert len(taken) == 20
    assert world.endpoint().id in {one.endpoint_id for one in taken}


def test_a_rate_bounds_starts_and_not_what_is_in_flight(world: World) -> None:
    """A receiver that takes a second gets its ten a second all the same."""
    world.enqueue(30)
    world.set_endpoint(HOOK, rate_per_second=10.0, max_in_flight=10, concurrency_limit=10, warmed_up=1)
    started = 0
    for _ in range(10):
        started += len(world.claim().taken)
        world.later(0.1)
    assert started == 10


def test_more_subscribers_than_turns_are_all_served_by_one_claim(world: World) -> None:
    for _ in range(40):
        world.subscriber_id = world.new_subscriber()
        world.enqueue(1)
    rotation = world.store.read(endpoint_selection.ready_subscribers, world.now)
    taken = world.claim(
        ClaimCapacity(slots=60, cold_slots=60, payload_bytes=1 << 27, rotation=rotation)
    ).taken
    assert len({one.subscriber_id for one in taken}) == 40


def test_a_claim_takes_one_poison_message_at_most_tests_included(world: World) -> None:
    world.enqueue(1)
    endpoint_id = world.endpoint().id
    for _ in range(2):
        world.store.write(deliveries.send_test, world.subscriber_id, endpoint_id, world.now, world.new_id)
    for _ in range(2):
        world.claim()
        world.later(61)
    assert len(world.claim().taken) == 1


def test_our_own_failures_do_not_count_against_an_endpoint(world: World) -> None:
    world.enqueue(2)
    before = world.endpoint().failure_streak
    world.record(world.claim().taken, None, ErrorClass.INTERNAL)
    assert world.endpoint().failure_streak == before
    assert world.endpoint().last_error is None
