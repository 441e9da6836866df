"""Claims and results of deliveries, on every database."""

import threading
from collections import Counter

import pytest

from relay.common.states import DeliveryStatus, ErrorClass, WatchStatus
from relay.db.engine import Store
from relay.db.leases import GIVE_UP_AFTER, POISON_AFTER
from relay.db.tables import Watch
from relay.deliveries.rules.retry_policy import DELIVERED
from relay.deliveries.sql import deliveries, delivery_claims, delivery_results
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.endpoints.rules.circuit_breaker import FIRST_CONCURRENCY_LIMIT
from relay.watches import registration
from tests.support.flow import AMPLE, LEASE, POLICY, World

HOOK = "https://example.com/hook"


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def test_an_endpoint_is_first_sent_only_as_many_as_the_first_concurrency_limit(world: World) -> None:
    world.enqueue(5)
    assert len(world.claim().taken) == FIRST_CONCURRENCY_LIMIT
    assert world.claim().taken == []


def test_a_row_that_is_given_up_holds_no_slot_of_its_endpoint(world: World) -> None:
    (bad,) = world.enqueue(1)
    world.set_endpoint(HOOK, concurrency_limit=1)
    for _ in range(GIVE_UP_AFTER):
        assert [one.id for one in world.claim().taken] == [bad]
        world.later(LEASE / 1e6)
    (good,) = world.enqueue(1)
    assert world.claim().taken == []  # the slot went to the one that is given up now
    assert world.delivery(bad).status == DeliveryStatus.FAILED
    assert world.endpoint().ready_at <= world.now
    assert [one.id for one in world.claim().taken] == [good]


def test_the_oldest_due_is_claimed_first(world: World) -> None:
    first = world.enqueue(1)
    world.later(1)
    world.enqueue(3)
    world.later(1)
    assert world.claim().taken[0].id == first[0]


def test_a_success_lets_one_more_fly_up_to_the_limit(world: World) -> None:
    world.enqueue(60)
    world.set_endpoint(HOOK, max_in_flight=5)
    seen = []
    for _ in range(6):
        taken = world.claim().taken
        seen.append(len(taken))
        world.record(taken)
    assert seen == [2, 4, 5, 5, 5, 5]


def test_a_failure_halves_what_may_fly_and_is_due_later(world: World) -> None:
    ids = world.enqueue(2)
    world.record(world.claim().taken, 500, ErrorClass.HTTP_5XX)
    assert world.endpoint().concurrency_limit == 1
    assert world.endpoint().failure_streak == 2
    assert world.endpoint().failing_since == world.now
    row = world.delivery(ids[0])
    assert row.status == DeliveryStatus.PENDING
    assert row.due_at == world.now + 5_000_000  # the jitter is in the middle
    assert row.retry_count == 1
    assert world.endpoint().ready_at == row.due_at


def test_a_delivered_row_is_finished_and_its_attempt_recorded(world: World) -> None:
    (one,) = world.enqueue(1)
    claim = world.claim()
    assert [row.lost_count for row in claim.taken] == [0]
    assert world.delivery(one).lost_count == 0
    world.later(1)
    recorded = world.record(claim.taken)
    assert recorded == [DELIVERED]
    row = world.delivery(one)
    assert (row.status, row.due_at, row.token, row.delivered_at) == ("delivered", None, None, world.now)
    (attempt,) = world.attempts(one)
    assert (attempt.number, attempt.status_code, attempt.error, attempt.response_body) == (1, 200, None, "ok")
    assert world.endpoint().ready_at is None
    assert world.store.read(delivery_claims.next_ready).first is None


def test_the_end_of_the_schedule_is_failed(world: World) -> None:
    (one,) = world.enqueue(1)
    for _ in range(len(POLICY.delays) + 1):
        claimed = world.claim().taken
        world.record(claimed, 500, ErrorClass.HTTP_5XX)
        world.later(100_000)
    row = world.delivery(one)
    assert (row.status, row.due_at, row.attempt_count) == ("failed", None, len(POLICY.delays) + 1)
    assert row.last_error == "http_5xx: it did not work"
    assert len(world.attempts(one)) == len(POLICY.delays) + 1


def test_C5_a_late_result_changes_nothing(world: World) -> None:
    (one,) = world.enqueue(1)
    late = world.claim().taken
    world.later(LEASE / 1e6 + 1)
    world.claim()
    (recorded,) = world.record(late)
    assert recorded is None
    assert world.delivery(one).status == DeliveryStatus.PENDING
    assert [attempt.error for attempt in world.attempts(one)] == ["lost"]


def test_a_lost_attempt_is_recorded_by_whoever_claims_next(world: World) -> None:
    (one,) = world.enqueue(1)
    world.claim()
    assert world.claim().taken == []
    assert world.endpoint().ready_at == world.now + LEASE
    world.later(LEASE / 1e6)
    claim = world.claim()
    assert claim.lost == 1
    assert [(row.number, row.error) for row in world.attempts(one)] == [(1, ErrorClass.LOST)]
    world.record(claim.taken)
    assert [(row.number, row.error) for row in world.attempts(one)] == [(1, "lost"), (2, None)]
    assert world.delivery(one).lost_count == 0


def test_only_one_poison_message_is_claimed_at_a_time_and_it_is_given_up_in_the_end(world: World) -> None:
    ids = world.enqueue(2)
    for _ in range(POISON_AFTER):
        world.claim()
        world.later(LEASE / 1e6)
    taken = world.claim().taken
    assert len(taken) == 1
    assert taken[0].lost_count == POISON_AFTER
    for _ in range(2 * GIVE_UP_AFTER):
        world.later(LEASE / 1e6)
        world.claim()
    assert {world.delivery(one).status for one in ids} == {"failed"}
    assert all(len(world.attempts(one)) == GIVE_UP_AFTER for one in ids)
    assert world.endpoint().ready_at is None


def test_a_blocked_endpoint_keeps_nobody_waiting(world: World) -> None:
    world.enqueue(50, "https://blocked.example/hook")
    world.claim()
    healthy = world.enqueue(1, "https://healthy.example/hook")
    assert [one.id for one in world.claim().taken] == healthy


def test_cold_endpoints_take_only_their_quota(world: World) -> None:
    for number in range(6):
        world.enqueue(1, f"https://new{number}.example/hook")
    capacity = ClaimCapacity(slots=100, cold_slots=4, payload_bytes=1 << 20)
    assert len(world.claim(capacity).taken) == 4
    assert world.claim(ClaimCapacity(slots=100, cold_slots=0, payload_bytes=1 << 20)).taken == []
    assert len(world.claim().taken) == 2


def test_a_claim_keeps_to_its_memory(world: World) -> None:
    for number in range(4):
        watch = world.watch(None, f"https://big{number}.example/hook")
        world.end_job(watch, data='"' + "x" * 1000 + '"')
    sizes = [one.payload_bytes for one in world.claim().taken]
    assert len(sizes) == 4
    assert all(size >= 0 for size in sizes)


def test_a_rate_limit_spaces_the_claims(world: World) -> None:
    world.enqueue(5)
    world.set_endpoint(HOOK, rate_per_second=2.0, max_in_flight=10, concurrency_limit=10)
    first = world.claim().taken
    assert len(first) == 1
    world.record(first)
    assert world.claim().taken == []
    world.later(0.5)
    assert len(world.claim().taken) == 1


def test_a_cancelled_watch_sends_nothing_new_but_finishes_what_flies(world: World) -> None:
    ids = world.enqueue(3)
    delivered, failed = world.claim().taken
    (waiting,) = set(ids) - {delivered.id, failed.id}
    for watch in world.rows(Watch, Watch.subscriber_id == world.subscriber_id):
        world.store.write(registration.cancel, world.subscriber_id, watch.id, world.now)
    assert [world.delivery(one).status for one in (delivered.id, failed.id)] == ["pending", "pending"]
    assert world.delivery(waiting).status == "cancelled"
    world.record([delivered])
    world.record([failed], 503, ErrorClass.HTTP_5XX)
    assert [world.delivery(one).status for one in (delivered.id, failed.id)] == ["delivered", "cancelled"]
    assert {row.status for row in world.rows(Watch)} == {WatchStatus.SUCCESS}


def test_a_retry_by_hand_is_due_now_with_a_fresh_schedule(world: World) -> None:
    (one,) = world.enqueue(1)
    world.record(world.claim().taken)
    world.store.write(deliveries.retry, world.subscriber_id, one, world.now)
    row = world.delivery(one)
    assert (row.status, row.due_at, row.retry_count) == ("pending", world.now, 0)
    (again,) = world.claim().taken
    assert (again.id, again.number) == (one, 2)


def test_a_released_claim_is_as_if_it_had_not_been(world: World) -> None:
    (one,) = world.enqueue(1)
    (claimed,) = world.claim().taken
    world.store.write(delivery_results.release, [(claimed.id, claimed.token, claimed.endpoint_id)], world.now)
    row = world.delivery(one)
    assert (row.attempt_count, row.token, row.due_at) == (0, None, world.now)
    assert len(world.claim().taken) == 1


def test_C3_many_claimers_never_take_a_row_twice(world: World) -> None:
    for number in range(20):
        world.enqueue(20, f"https://e{number}.example/hook")
        world.set_endpoint(f"https://e{number}.example/hook", concurrency_limit=10, warmed_up=1)
    sent: Counter[str] = Counter()
    lock = threading.Lock()

    def dispatcher() -> None:
        while True:
            taken = world.claim(ClaimCapacity(slots=17, cold_slots=17, payload_bytes=1 << 20)).taken
            with lock:
                sent.update(one.id for one in taken)
                done = sum(sent.values()) >= 400
            world.record(taken)
            if done:
                return

    threads = [threading.Thread(target=dispatcher) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 400
    assert set(sent.values()) == {1}
    assert world.claim(AMPLE).taken == []
