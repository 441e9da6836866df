"""An endpoint's pace, circuit and end, as pure rules."""

from hypothesis import given
from hypothesis import strategies as st

from relay.common.states import DisabledReason
from relay.common.time import US_PER_SECOND, Micros
from relay.endpoints.rules.circuit_breaker import (
    COLD_AFTER,
    DISABLE_SPAN,
    FIRST_CONCURRENCY_LIMIT,
    FIRST_PROBE,
    LONGEST_PROBE,
    OPEN_AFTER,
    PROBE_JITTER,
    STEADY_AFTER,
    EndpointHealth,
    why_disable,
)

NOW: Micros = 1_700_000_000 * US_PER_SECOND


def failing(times: int, health: EndpointHealth | None = None, now: Micros = NOW) -> EndpointHealth:
    health = health or EndpointHealth()
    for _ in range(times):
        health = health.after_failure(now, started_at=now, rng=0.0)
    return health


def test_each_success_lets_one_more_fly_up_to_the_limit() -> None:
    health, seen = EndpointHealth(), []
    for _ in range(5):
        seen.append(health.concurrency_limit)
        health = health.after_success(NOW, 4)
    assert seen == [FIRST_CONCURRENCY_LIMIT, 3, 4, 4, 4]
    assert health.warmed_up


def test_each_failure_halves_what_may_fly_down_to_one() -> None:
    assert [failing(n, EndpointHealth(concurrency_limit=10)).concurrency_limit for n in range(5)] == [
        10,
        5,
        2,
        1,
        1,
    ]


def test_a_run_of_failures_loses_the_proof() -> None:
    warmed_up = EndpointHealth().after_success(NOW, 10)
    assert failing(COLD_AFTER - 1, warmed_up).warmed_up
    assert not failing(COLD_AFTER, warmed_up).warmed_up


def test_I4_the_circuit_opens_after_a_run_of_failures_and_closes_at_the_first_success() -> None:
    assert not failing(OPEN_AFTER - 1).is_open
    opened = failing(OPEN_AFTER)
    assert opened.is_open
    assert opened.open_until == NOW + FIRST_PROBE
    closed = opened.after_success(NOW + FIRST_PROBE, 10)
    assert not closed.is_open
    assert (closed.concurrency_limit, closed.failure_streak, closed.failing_since) == (
        FIRST_CONCURRENCY_LIMIT,
        0,
        None,
    )
    assert closed.recovered_at == NOW + FIRST_PROBE


def test_probes_come_ever_less_often_up_to_a_bound() -> None:
    health, now, gaps = failing(OPEN_AFTER), NOW, []
    for _ in range(12):
        gaps.append((health.open_until - now) // US_PER_SECOND)
        now = health.open_until
        health = health.after_failure(now, started_at=now, rng=0.0)
    assert gaps == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600, 600]


def test_what_began_before_the_circuit_opened_is_no_probe() -> None:
    """A thousand attempts of one blip must not push the next probe to ten minutes."""
    opened = failing(OPEN_AFTER)
    late = opened
    for _ in range(1000):
        late = late.after_failure(NOW + US_PER_SECOND, started_at=NOW - US_PER_SECOND, rng=0.0)
    assert (late.open_until, late.probe_count) == (opened.open_until, 0)


def test_a_410_disables_at_once() -> None:
    assert why_disable(failing(1), NOW, 410) is DisabledReason.GONE


def test_ten_failures_over_five_days_disable() -> None:
    first = failing(1)
    almost = failing(8, first, NOW + DISABLE_SPAN)
    assert why_disable(almost, NOW + DISABLE_SPAN, 500) is None
    tenth = failing(1, almost, NOW + DISABLE_SPAN)
    assert why_disable(tenth, NOW + DISABLE_SPAN - 1, 500) is None
    assert why_disable(tenth, NOW + DISABLE_SPAN, 500) is DisabledReason.FAILING


def test_a_success_in_between_starts_the_five_days_anew() -> None:
    health = failing(20).after_success(NOW, 10)
    assert why_disable(failing(20, health, NOW + DISABLE_SPAN), NOW + DISABLE_SPAN, 500) is None


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3600)), max_size=60),
    st.integers(1, 50),
    st.floats(0, 1, exclude_max=True),
)
def test_whatever_is_answered_the_pace_stays_within_its_bounds(
    answers: list[tuple[bool, int]], limit: int, rng: float
) -> None:
    health, now = EndpointHealth(concurrency_limit=min(FIRST_CONCURRENCY_LIMIT, limit)), NOW
    for succeeded, seconds in answers:
        now += seconds * US_PER_SECOND
        health = (
            health.after_success(now, limit)
            if succeeded
            else health.after_failure(now, started_at=now, rng=rng)
        )
        assert 1 <= health.concurrency_limit <= limit
        assert health.is_open == (health.failure_streak >= OPEN_AFTER)
        assert (health.failing_since is None) == (health.failure_streak == 0)
        assert health.open_until <= now + round(LONGEST_PROBE * (1 + PROBE_JITTER)) + 1


def test_what_is_blocked_is_blocked_since_the_circuit_opened() -> None:
    opened = failing(OPEN_AFTER)
    assert (opened.opened_at, opened.blocked_since, opened.wait_began_at) == (NOW, NOW, NOW)
    later = failing(1, opened, NOW + US_PER_SECOND)
    assert later.wait_began_at == NOW
    closed = later.after_success(NOW + 2 * US_PER_SECOND, 10)
    assert closed.wait_began_at is None


def test_an_open_circuit_of_which_nothing_else_is_known_blocks_since_it_opened() -> None:
    old = EndpointHealth(opened_at=NOW, failure_streak=OPEN_AFTER)
    assert old.wait_began_at == NOW
    closed = old.after_success(NOW + US_PER_SECOND, 10)
    assert failing(OPEN_AFTER, closed, NOW + 2 * US_PER_SECOND).wait_began_at == NOW


SHORT = st.integers(0, STEADY_AFTER - 1)


@given(st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=8), st.integers(1, 5))
def test_recoveries_shorter_than_an_hour_never_move_it_and_a_steady_hour_does(
    flaps: list[tuple[Micros, Micros]], successes: int
) -> None:
    health, now = failing(OPEN_AFTER), NOW
    for closed_for, open_for in flaps:
        health = answered(health, now, successes)
        now += closed_for
        health = failing(OPEN_AFTER, health, now)
        assert (health.wait_began_at, health.opened_at) == (NOW, now)
        now += open_for
    health = answered(health, now, successes)
    now += STEADY_AFTER
    assert failing(OPEN_AFTER, health, now).wait_began_at == now


def answered(health: EndpointHealth, now: Micros, times: int) -> EndpointHealth:
    for _ in range(times):
        health = health.after_success(now, 10)
    return health


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-7200, 7200)), max_size=30))
def test_whatever_the_answers_and_the_clock_an_open_circuit_blocks_since_it_opened_or_before(
    answers: list[tuple[int, int]],
) -> None:
    """Each is so many failures, and then a success if there were none; clocks may be set back."""
    health, now = EndpointHealth(), NOW
    for failures, seconds in answers:
        now += seconds * US_PER_SECOND
        health = failing(failures, health, now) if failures else health.after_success(now, 10)
        assert (health.wait_began_at is None) == (health.opened_at is None)
        if health.opened_at is not None and health.wait_began_at is not None:
            assert health.wait_began_at <= health.opened_at
