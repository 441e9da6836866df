"""The poll policy: learned durations, the utility of a poll, and quotas of the rate."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.support_poll import MIXES, Job, Simulation, mean_duration, steady_jobs
from bench.support_poll_rivals import even_polling, optimal_delay
from relay.common.time import US_PER_SECOND, Micros
from relay.polling.rules.durations import (
    KEPT,
    KEPT_AT_ONCE,
    LONGEST,
    age_of,
    duration_of,
    learn,
    provider_time,
    remember,
    type_key,
    utility,
)
from relay.polling.rules.poll_policy import (
    CLOSEST,
    CLOSEST_POLLS,
    EVENLY,
    FILL,
    LAST_POLL_BEFORE,
    PRIOR,
    Plan,
    Quota,
    Sample,
    crowded,
    interval,
    next_poll,
    polls_to_plan,
    quota_for,
    upstream_backoff,
)

NOW: Micros = 1_767_323_045 * US_PER_SECOND  # 2026-01-02T03:04:05Z
DURATIONS = st.lists(st.floats(0.1, LONGEST), max_size=200)
AGES = st.floats(0, LONGEST)
THRESHOLDS = st.floats(0, 1e6)


def lognormal(median: float, sigma: float, count: int = KEPT, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [rng.lognormvariate(math.log(median), sigma) for _ in range(count)]


# What is learned.


@given(durations=DURATIONS)
def test_a_curve_rises_whatever_was_seen(durations: list[float]) -> None:
    curve = learn(durations)
    assert curve.ages[0] == curve.hazard[0] == 0
    assert all(left < right for left, right in zip(curve.ages, curve.ages[1:], strict=False))
    assert all(low <= high < math.inf for low, high in zip(curve.hazard, curve.hazard[1:], strict=False))


def test_before_anything_is_learned_half_of_the_jobs_are_taken_to_end_within_two_minutes() -> None:
    assert math.exp(-PRIOR.hazard_at(120)) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("median", "sigma"), [(30, 1.0), (60, 0.3), (600, 1.0)])
def test_a_curve_follows_the_durations_that_were_seen(median: float, sigma: float) -> None:
    curve = learn(lognormal(median, sigma))
    for spread, expected in ((-1, 0.841), (0, 0.5), (1, 0.159)):
        running = math.exp(-curve.hazard_at(median * math.exp(spread * sigma)))
        assert running == pytest.approx(expected, abs=0.05)


def test_jobs_that_all_take_the_same_time_make_a_curve_too() -> None:
    curve = learn([60.0] * KEPT)
    assert math.exp(-curve.hazard_at(50)) > 0.2
    assert math.exp(-curve.hazard_at(62)) < 0.05


def test_the_newest_durations_are_kept_and_a_rush_is_thinned() -> None:
    kept = remember([1.0] * KEPT, [2.0] * 50)
    assert (len(kept), kept.count(2.0), kept[-1]) == (KEPT, 50, 2.0)
    rush = remember([], [float(number) for number in range(1_000)])
    assert len(rush) == KEPT_AT_ONCE
    assert rush == sorted(rush)
    assert max(rush) > 980


@pytest.mark.parametrize(
    ("creation_time", "complete_time", "last_open", "expected"),
    [
        ("2026-01-02T03:03:05Z", "2026-01-02T03:03:50Z", None, 45),
        ("2026-01-02T03:03:05Z", None, NOW - 10 * US_PER_SECOND, 55),  # halfway since it was seen open
        (None, None, NOW - 10 * US_PER_SECOND, 95),  # registered 100 s ago
        (None, "2026-01-02T03:03:50Z", None, None),
        ("2026-01-02T03:03:05Z", None, None, None),  # it may have ended at any time
        ("2026-01-02T03:04:05Z", "2026-01-02T03:03:05Z", None, None),
        ("1970-01-01T00:00:00Z", "2026-01-02T03:03:05Z", None, None),
        ("yesterday", "soon", None, None),
    ],
)
def test_durations_are_the_providers_or_else_observed(
    creation_time: str | None, complete_time: str | None, last_open: Micros | None, expected: float | None
) -> None:
    found = duration_of(
        creation_time, complete_time, registered_at=NOW - 100 * US_PER_SECOND, last_open_at=last_open, now=NOW
    )
    assert found == expected


@given(text=st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert provider_time(text) is None or isinstance(provider_time(text), int)


def test_a_jobs_age_counts_from_the_providers_time_and_is_never_negative() -> None:
    assert age_of("2026-01-02T03:03:05Z", NOW - 5 * US_PER_SECOND, NOW) == 60
    assert age_of(None, NOW - 5 * US_PER_SECOND, NOW) == 5
    assert age_of("2026-01-02T05:00:00Z", NOW, NOW) == 0


def test_types_too_strange_to_be_kept_apart_are_one() -> None:
    assert type_key("AIMediaDNA,AIVideoTag") == "AIMediaDNA,AIVideoTag"
    assert type_key(None) == type_key("x" * 65) == type_key("智能标签") == type_key("a\nb") == ""


# What a poll is worth.


@given(age=AGES, threshold=THRESHOLDS, more=THRESHOLDS, longest=st.floats(CLOSEST, 1e6), durations=DURATIONS)
def test_a_gap_keeps_its_bounds_and_grows_with_the_gain(
    age: float, threshold: float, more: float, longest: float, durations: list[float]
) -> None:
    curve = learn(durations)
    first, second = (
        interval(curve, Quota(threshold, longest), age),
        interval(curve, Quota(threshold + more, longest), age),
    )
    assert CLOSEST <= first <= longest
    assert first <= second * 1.001


@pytest.mark.parametrize("age", [0, 20, 60, 300])
def test_between_the_bounds_every_gap_is_worth_the_same(age: float) -> None:
    curve = learn(lognormal(60, 0.6))
    found = interval(curve, Quota(1.0, 1e6), age)
    assert utility(found, curve.hazard_at(age + found) - curve.hazard_at(age)) == pytest.approx(1.0, rel=0.05)


@given(gap_seconds=st.floats(0.1, 1e4), hazard=st.floats(0, 0.05))
def test_where_the_chance_is_small_the_worth_is_half_of_gap_times_chance(
    gap_seconds: float, hazard: float
) -> None:
    assert utility(gap_seconds, hazard) == pytest.approx(gap_seconds * -math.expm1(-hazard) / 2, rel=0.05)


@pytest.mark.parametrize("price", [0.5, 20.0, 300.0])
def test_for_jobs_without_memory_the_worth_gives_the_cheapest_gap(price: float) -> None:
    hazard = 1 / 60

    def cost(interval: float) -> float:
        ended = -math.expm1(-hazard * interval)
        return (price + interval - ended / hazard) / ended

    cheapest = min((number / 100 for number in range(1, 100_000)), key=cost)
    assert utility(cheapest, hazard * cheapest) == pytest.approx(price, rel=0.01)


# Quotas of the rate.


@given(jobs=st.dictionaries(st.text(max_size=3), st.integers(1, 10**6), max_size=20), polls=st.floats(1, 1e4))
def test_quotas_are_max_min_fair(jobs: dict[str, int], polls: float) -> None:
    quotas = crowded(jobs, polls)
    used = sum(quotas.get(owner, count / CLOSEST) for owner, count in jobs.items())
    assert used <= polls * FILL * 1.000001
    for owner, quota in quotas.items():
        assert quota < jobs[owner] / CLOSEST
        assert used == pytest.approx(polls * FILL)
        assert all(jobs[other] / CLOSEST <= quota * 1.000001 for other in jobs.keys() - quotas.keys())


def test_who_has_plenty_is_polled_as_often_as_is_allowed() -> None:
    assert crowded({"few": 10, "many": 100_000}, 100).keys() == {"many"}
    assert Plan().interval("few", "AIVideoTag", 30) == CLOSEST


@pytest.mark.parametrize("count", [300, 3_000, 100_000])
def test_a_threshold_is_set_so_that_just_the_rate_is_used(count: int) -> None:
    curves = {"x": learn(lognormal(60, 0.3)), "y": learn(lognormal(600, 1.0))}
    rng = random.Random(1)
    samples = [Sample(rng.choice("xyz"), rng.expovariate(1 / 300)) for _ in range(300)]
    quota = quota_for(count, samples, curves, 100)
    cost = (
        sum(1 / interval(curves.get(sample.type, PRIOR), quota, sample.age) for sample in samples)
        / len(samples)
        * count
    )
    assert cost == pytest.approx(100, rel=0.01)
    assert quota.longest <= 1.5 * count / 100


def test_jobs_of_which_nothing_is_known_are_polled_evenly() -> None:
    quota = quota_for(1_000, [], {}, 100)
    assert quota == Quota(EVENLY, 10)
    assert interval(PRIOR, quota, 5) == 10


def test_new_jobs_take_from_the_rate_but_leave_a_tenth() -> None:
    assert polls_to_plan(10, 10, 30) == 70
    assert polls_to_plan(10, 10, 500) == 10


# When the next poll is.


@given(deadline=st.integers(-(10**9), 10**9), seconds=st.floats(0, 60))
def test_a_poll_comes_after_the_interval_or_just_before_a_deadline_and_never_too_soon(
    deadline: int, seconds: float
) -> None:
    due_at = next_poll(NOW, NOW + deadline, seconds)
    regular = NOW + round(seconds * US_PER_SECOND)
    assert NOW + CLOSEST_POLLS <= due_at <= max(regular, NOW + CLOSEST_POLLS)
    last_poll = NOW + deadline - LAST_POLL_BEFORE
    if NOW + CLOSEST_POLLS <= last_poll <= regular:
        assert due_at == last_poll
    elif last_poll > regular:
        assert due_at == max(regular, NOW + CLOSEST_POLLS)


@given(streak=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_the_fleet_holds_back_from_one_second_up_to_a_minute_give_or_take_half(
    streak: int, jitter: float
) -> None:
    middle = min(2 ** (min(streak, 10) - 1), 60) * US_PER_SECOND
    assert middle // 2 <= upstream_backoff(streak, jitter) <= middle * 3 // 2


def test_the_fleets_wait_doubles() -> None:
    waits = [upstream_backoff(streak, 0.5) // US_PER_SECOND for streak in range(1, 9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


# The policy at work, on a clock of its own.


@pytest.mark.parametrize(("mix", "most"), [("four types", 0.8), ("two types", 0.9)])
def test_it_notices_sooner_than_a_fixed_interval_with_the_same_calls(mix: str, most: float) -> None:
    kinds = MIXES[mix]
    simulation = Simulation(steady_jobs(kinds, 300, 900, random.Random(3)), 3, random.Random(4))
    simulation.run(400)
    ids = simulation.ids
    simulation.run(900)
    ended = [job for job in simulation.finished if job.found > 400]
    polls = (simulation.ids - ids) / len(ended)
    delay = sum(job.delay for job in ended) / len(ended)
    running = mean_duration(kinds) * 500 / (len(ended) / (300 / mean_duration(kinds)))
    _, even = even_polling(ended, running, polls)
    assert delay <= most * sum(even) / len(even)
    assert delay <= 1.25 * optimal_delay(kinds, polls)
    assert simulation.ids / simulation.calls >= 9.9


def test_an_outage_of_two_hours_loses_nothing_and_is_worked_off_at_the_full_rate() -> None:
    hour = 3_600.0
    made: list[Job] = []

    def jobs() -> Iterator[Job]:
        for job in steady_jobs(MIXES["two types"], 100, 3 * hour, random.Random(5)):
            made.append(job)
            yield job

    simulation = Simulation(jobs(), 2, random.Random(6), outage=(900, 900 + 2 * hour))
    simulation.run(900)
    before = simulation.calls
    simulation.run(900 + 2 * hour)
    assert simulation.calls - before <= 121  # a probe a minute
    waiting, before = len(simulation.open), simulation.calls
    simulation.run(960 + 2 * hour)
    assert simulation.calls - before >= 118
    assert len(simulation.open) < waiting - 900
    simulation.run(3 * hour + 900)
    late = [job for job in made if 900 < job.ended < 900 + 2 * hour]
    assert all(not math.isnan(job.found) for job in late)
    assert max(job.found for job in late) < 900 + 2 * hour + 300
