"""The rate limiter: one for the fleet, divided fairly, halved by throttling, held by failures."""

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import update

from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Job, JobType, PollPolicy, Upstream
from relay.polling.poller import Poller
from relay.polling.rules.poll_policy import CLOSEST, EVENLY, Plan
from relay.polling.sql import rate_limiter
from relay.polling.sql.poll_claims import PollClaim
from relay.polling.sql.poll_policies import REFRESH, Policy
from relay.polling.sql.rate_limiter import LEAST_RATE, PROBE_LASTS
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.source import Answer, JobReport, Outcome, RefusalKind, Refused, Unreachable
from relay.watches import registration
from tests.support.flow import World, fresh_job_id
from tests.support.polling import claim, poll_once, poller_config, record, record_open
from tests.support.provider import Provider

SOURCE = LIST_AI_JOB.name
INTERVAL = US_PER_SECOND // 10
CREATED = "2023-11-14T22:13:00Z"  # 20 s before the world's clock begins


def state(world: World) -> Any:
    return world.rows(Upstream)[0]


def throttle(world: World, *, asked_at: Micros, wait: Micros = 0) -> None:
    world.store.write(
        rate_limiter.throttled,
        SOURCE,
        world.now,
        asked_at=asked_at,
        code="Throttling.User",
        detail="slow down",
        wait=wait,
    )


def fail(world: World, *, asked_at: Micros) -> None:
    world.store.write(
        rate_limiter.failed,
        SOURCE,
        world.now,
        asked_at=asked_at,
        code="X",
        detail="x",
        hold=lambda streak: streak * US_PER_SECOND,
    )


def take(world: World) -> Micros | None:
    """Take a call as a claim does; None if it was free, else when it will be."""

    def work(tx: Tx) -> Micros | None:
        row = rate_limiter.lock_rate_limiter(tx, SOURCE)
        if row.next_call_at > world.now:
            return int(row.next_call_at)
        rate_limiter.spend_call(tx, SOURCE, row, world.now, INTERVAL)
        return None

    return world.store.write(work)


# Throttling.


def test_throttling_halves_the_rate_at_once_for_the_whole_fleet(world: World) -> None:
    assert take(world) is None
    world.later(1)
    throttle(world, asked_at=world.now - 1)
    assert state(world).rate_factor == 0.5
    world.later(1)
    assert take(world) is None
    assert take(world) == pytest.approx(world.now + 2 * INTERVAL, abs=INTERVAL // 2 + 1)


def test_calls_that_were_under_way_when_the_rate_was_halved_do_not_halve_it_again(world: World) -> None:
    asked_at = world.now
    take(world)
    world.later(0.5)
    for _ in range(8):
        throttle(world, asked_at=asked_at)
    assert state(world).rate_factor == 0.5
    throttle(world, asked_at=world.later(0.1))
    assert state(world).rate_factor == 0.25
    for _ in range(20):
        throttle(world, asked_at=world.later(1))
    assert state(world).rate_factor == LEAST_RATE


def test_the_rate_comes_back_little_by_little(world: World) -> None:
    take(world)
    throttle(world, asked_at=world.later(1))
    factors = []
    for _ in range(100):
        world.store.write(rate_limiter.answered, SOURCE, world.later(1))
        factors.append(state(world).rate_factor)
    assert factors[0] == 0.5
    assert factors[-1] == 1
    assert factors == sorted(factors)
    assert max(after - before for before, after in pairwise(factors)) < 0.051
    assert 40 < factors.index(1) < 80  # seconds


def test_the_wait_that_throttling_asks_for_is_honoured(world: World) -> None:
    take(world)
    throttle(world, asked_at=world.later(1), wait=45 * US_PER_SECOND)
    assert take(world) == world.now + 45 * US_PER_SECOND


def test_throttling_is_shown_until_the_next_answer(world: World) -> None:
    take(world)
    throttle(world, asked_at=world.later(1))
    assert (state(world).error_code, state(world).down_since) == ("Throttling.User", world.now)
    world.store.write(rate_limiter.answered, SOURCE, world.later(1))
    assert (state(world).error_code, state(world).down_since) == (None, None)


# Failures.


def test_after_a_failure_calls_are_probes_one_at_a_time(world: World) -> None:
    take(world)
    fail(world, asked_at=world.now)
    world.later(1)
    assert take(world) is None
    assert take(world) == world.now + PROBE_LASTS
    world.store.write(rate_limiter.answered, SOURCE, world.later(0.2))
    assert take(world) is None
    assert take(world) == pytest.approx(world.now + INTERVAL, abs=INTERVAL // 4 + 1)


def test_a_probe_that_fails_is_followed_by_the_next_after_its_hold_only(world: World) -> None:
    take(world)
    fail(world, asked_at=world.now)
    probed_at = world.later(1)
    assert take(world) is None
    world.later(0.5)
    fail(world, asked_at=probed_at)
    assert (state(world).failure_streak, state(world).next_call_at) == (2, world.now + 2 * US_PER_SECOND)


def test_a_probe_that_has_to_be_split_does_not_wait_for_itself(world: World) -> None:
    take(world)
    fail(world, asked_at=world.now)
    world.later(1)
    assert take(world) is None
    assert world.store.write(rate_limiter.take_call, SOURCE, world.now, INTERVAL) is None


def test_calls_that_fail_together_are_one_failure(world: World) -> None:
    asked_at = world.now
    take(world)
    world.later(0.5)
    for _ in range(8):
        fail(world, asked_at=asked_at)
    assert state(world).failure_streak == 1


def test_a_denied_fleet_makes_one_call_a_minute(world: World) -> None:
    for _ in range(30):
        world.watch()
    denied = Refused(RefusalKind.DENIED, "Forbidden.RAM", "no", None, None, 403)
    calls = []

    def ask(_job_ids: object) -> Outcome:
        calls.append(world.now)
        return denied

    for _ in range(1_250):
        poll_once(world, ask)
        world.later(0.1)
    assert len(calls) == 3


# The rate.


def test_a_call_whose_moment_has_passed_takes_another(world: World, provider: Provider) -> None:
    """A process that stood still between claim and call does not add to the calls of others."""
    world.watch()
    stale = claim(world, INTERVAL)
    world.later(5)
    assert take(world) is None
    config = poller_config(world.new_id)
    poller = Poller(world.store, RealWorldClock(world), LIST_AI_JOB, provider.client(), config)
    before = time.monotonic()
    poller._ask_and_record(stale)
    poller.drain()
    assert time.monotonic() - before >= 0.07
    assert provider.calls()["calls"] == 1


class RealWorldClock(Clock):
    """The world's time at first, which then goes on by itself."""

    def __init__(self, world: World) -> None:
        self._ahead = world.now - time.monotonic_ns() // 1000

    def now(self) -> Micros:
        return time.monotonic_ns() // 1000 + self._ahead


def test_four_pollers_keep_to_the_rate_and_every_call_is_full(
    world: World, own_database_url: str, provider: Provider
) -> None:
    ids = provider.make_jobs(
        *({"type": "AIVideoTag", "outcome": "success", "seconds": 3600} for _ in range(300))
    )
    world.now = time.time_ns() // 1000
    world.register(*(world.request(job_id) for job_id in ids))
    rate, seconds = 10, 4.0
    stop = threading.Event()
    stores = [Store(own_database_url) for _ in range(4)]
    config = poller_config(world.new_id)
    pollers = [Poller(store, Clock(store), LIST_AI_JOB, provider.client(), config) for store in stores]
    threads = [threading.Thread(target=keep_polling, args=(poller, stop)) for poller in pollers]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    calls = provider.calls()
    assert most_in_a_second(calls["at"]) <= rate + 2  # one of them by the jitter of threads and loopback
    assert len(calls["at"]) >= 0.8 * rate * seconds
    assert sum(calls["ids_per_call"]) >= 9.9 * calls["calls"]


def keep_polling(poller: Poller, stop: threading.Event) -> None:
    while not stop.is_set():
        stop.wait(poller.run_once())
    poller.drain()


def most_in_a_second(times: list[float]) -> int:
    return max(sum(start <= other < start + 1 for other in times) for start in times)


def test_an_idle_relay_makes_no_call(world: World, provider: Provider) -> None:
    for _ in range(20):
        poll_once(world, provider.client().ask)
        world.later(1)
    assert provider.calls()["calls"] == 0


# Fairness.


def owned_by(world: World, jobs: int) -> str:
    """A new subscriber with so many jobs; returns its id."""
    world.subscriber_id = world.new_subscriber()
    for first in range(0, jobs, 500):
        count = min(500, jobs - first)
        world.register(*(world.request(fresh_job_id()) for _ in range(count)))
    return world.subscriber_id


def owners_of(world: World, claimed: PollClaim) -> list[str]:
    by_key = {row.id: row.owner for row in world.rows(Job)}
    return [by_key[job.key] for job in claimed.jobs]


def test_subscribers_take_turns_for_the_places_of_a_call(world: World) -> None:
    many, few = owned_by(world, 100), owned_by(world, 7)
    places = []
    for _ in range(3):
        owners = owners_of(world, claim(world))
        places.append((owners.count(many), owners.count(few)))
        world.later(0.1)
    assert places == [(5, 5), (8, 2), (10, 0)]


def test_with_more_subscribers_than_places_each_has_its_turn(world: World) -> None:
    owners = [owned_by(world, 3) for _ in range(25)]
    seen: list[str] = []
    for _ in range(5):
        seen += owners_of(world, claim(world))
        world.later(0.1)
    assert len(seen) == 50
    assert all(seen.count(owner) == 2 for owner in owners)


def test_a_shared_job_is_charged_to_its_earliest_waiting_watch(world: World) -> None:
    first, second = world.new_subscriber(), world.new_subscriber()
    watches = {}
    for subscriber in (first, second):
        world.subscriber_id = subscriber
        watches[subscriber] = world.watch("shared")
        world.later(1)
    assert world.rows(Job)[0].owner == first
    world.store.write(registration.cancel, first, watches[first], world.now)
    assert world.rows(Job)[0].owner == second
    world.store.write(registration.cancel, second, watches[second], world.now)
    job = world.rows(Job)[0]
    assert (job.owner, job.due_at) == (None, None)


def test_a_claimed_job_that_changes_hands_is_charged_to_the_new_one(world: World) -> None:
    first, second = world.new_subscriber(), world.new_subscriber()
    world.subscriber_id = first
    watch_id = world.watch("shared")
    claimed = claim(world)
    world.store.write(registration.cancel, first, watch_id, world.now)
    world.subscriber_id = second
    world.watch("shared")
    assert world.rows(Job)[0].owner == second
    still_open(world, claimed, Plan())
    job = world.rows(Job)[0]
    assert (job.owner, job.due_at) == (second, world.now + 2 * US_PER_SECOND)


def still_open(world: World, claimed: PollClaim, plan: Plan) -> None:
    record_open(world, claimed, plan, job_type="AIVideoTag", creation_time=CREATED)


def poll_for(world: World, seconds: float, policy: Policy) -> dict[str, list[Micros]]:
    """Poll ten times a second, all jobs staying open; when each was asked about."""
    asked: dict[str, list[Micros]] = {}
    for _ in range(round(seconds * 10)):
        if policy.is_due(world.now):
            policy.keep_up(world.now)
        claimed = claim(world, INTERVAL)
        for job in claimed.jobs:
            asked.setdefault(job.job_id, []).append(world.now)
        still_open(world, claimed, policy.plan)
        world.later(0.1)
    return asked


def mean_interval(asked: dict[str, list[Micros]], job_ids: list[str]) -> float:
    intervals = [
        (after - before) / US_PER_SECOND for job_id in job_ids for before, after in pairwise(asked[job_id])
    ]
    return sum(intervals) / len(intervals)


def test_ten_jobs_beside_thousands_wait_at_most_twice_as_long_as_alone(world: World) -> None:
    policy = Policy(world.store, LIST_AI_JOB, INTERVAL)
    ours = [fresh_job_id() for _ in range(10)]
    world.subscriber_id = world.new_subscriber()
    world.register(*(world.request(job_id) for job_id in ours))
    alone = mean_interval(poll_for(world, 12, policy), ours)
    many = owned_by(world, 3_000)
    beside = poll_for(world, 25, policy)
    assert mean_interval(beside, ours) <= 2 * alone
    assert alone == pytest.approx(CLOSEST, abs=0.1)
    assert policy.plan.quotas.keys() == {many}
    assert sum(map(len, beside.values())) >= 0.99 * 25 * 100  # the remaining calls are used too


# The policy, kept in SQL.


def test_one_poller_refreshes_the_policy_and_all_read_it(world: World) -> None:
    owned_by(world, 400)
    pollers = [Policy(world.store, LIST_AI_JOB, INTERVAL) for _ in range(3)]
    for policy in pollers:
        policy.keep_up(world.now)
    assert pollers[0].plan.quotas == pollers[1].plan.quotas == pollers[2].plan.quotas
    first = world.rows(PollPolicy)[0]
    assert first.refreshed_at == world.now
    world.later(5)
    pollers[0].keep_up(world.now)
    assert world.rows(PollPolicy)[0] == first
    world.now += REFRESH
    pollers[1].keep_up(world.now)
    assert world.rows(PollPolicy)[0].refreshed_at == world.now


def test_jobs_that_nobody_has_asked_about_are_planned_evenly_then_by_what_is_known(world: World) -> None:
    owner = owned_by(world, 400)
    policy = Policy(world.store, LIST_AI_JOB, INTERVAL)
    policy.keep_up(world.now)
    assert policy.plan.quotas[owner].threshold == EVENLY
    poll_for(world, 5, policy)
    world.now += REFRESH
    policy.keep_up(world.now)
    assert 0 < policy.plan.quotas[owner].threshold < 100


def test_what_took_how_long_is_learned_by_the_whole_fleet(world: World) -> None:
    one, other = Policy(world.store, LIST_AI_JOB, INTERVAL), Policy(world.store, LIST_AI_JOB, INTERVAL)
    one.learn([("AIVideoTag", 30.0)] * 50)
    one.keep_up(world.now)
    other.learn([("AIVideoTag", 40.0), ("AIMediaDNA", 240.0)])
    other.keep_up(world.now)
    assert {row.name for row in world.rows(JobType)} == {"AIVideoTag", "AIMediaDNA"}
    assert other.plan.curves["AIVideoTag"].hazard_at(35) > 1
    one.keep_up(world.now)
    assert one.plan.curves == other.plan.curves


def test_a_result_teaches_the_providers_durations(world: World) -> None:
    world.watch("a-job")
    claimed = claim(world)
    complete = "2023-11-14T22:13:15Z"
    report = JobReport(
        "a-job", JobStatus.SUCCESS, "AIVideoTag", creation_time=CREATED, complete_time=complete
    )
    tally = record(world, claimed, Answer({"a-job": report}, frozenset(), None))
    assert tally.durations == [("AIVideoTag", 15.0)]


def test_a_throttled_fleet_plans_with_the_rate_that_it_has(world: World) -> None:
    owner = owned_by(world, 1_000)
    policy = Policy(world.store, LIST_AI_JOB, INTERVAL)
    policy.keep_up(world.now)
    before = policy.plan.quotas[owner].longest
    world.store.write(rate_limiter.lock_rate_limiter, SOURCE)
    world.store.write(lambda tx: tx.execute(update(Upstream).values(rate_factor=0.5)))
    world.now += REFRESH
    policy.keep_up(world.now)
    assert policy.plan.quotas[owner].longest == pytest.approx(2 * before, rel=0.01)


# After an outage.


def test_an_outage_loses_no_job_and_its_end_is_used_at_the_full_rate(
    world: World, provider: Provider
) -> None:
    ids = provider.make_jobs(*({"type": "AIVideoTag", "outcome": "success", "seconds": 0} for _ in range(60)))
    world.register(*(world.request(job_id) for job_id in ids))
    calls = []

    def down(_job_ids: object) -> Outcome:
        calls.append(world.now)
        return Unreachable("nobody answers")

    for _ in range(2 * 360):
        poll_once(world, down)
        world.later(10)
    assert len(calls) <= 140  # in two hours: a probe a minute, after the first few
    world.later(60)
    client = provider.client()
    poll_once(world, client.ask)
    for _ in range(5):
        world.later(0.1)
        poll_once(world, client.ask)
    assert provider.calls()["ids_per_call"] == [10] * 6
    assert {row.status for row in world.rows(Job)} == {JobStatus.SUCCESS}
