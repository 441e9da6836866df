"""An endpoint's pace, circuit and end, as pure rules."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core.pace import (
    DISABLE_SPAN,
    FIRST_ALLOWANCE,
    FIRST_PROBE,
    LONGEST_PROBE,
    OPEN_AFTER,
    PROBE_JITTER,
    STEADY_AFTER,
    UNPROVEN_AFTER,
    Pace,
    why_disable,
)
from relay.core.records import SECOND, Micros
from relay.core.states import DisabledReason

NOW: Micros = 1_700_000_000 * SECOND


def failing(times: int, pace: Pace | None = None, now: Micros = NOW) -> Pace:
    pace = pace or Pace()
    for _ in range(times):
        pace = pace.after_failure(now, started_at=now, dice=0.0)
    return pace


def test_each_success_lets_one_more_fly_up_to_the_limit() -> None:
    pace, seen = Pace(), []
    for _ in range(5):
        seen.append(pace.allowance)
        pace = pace.after_success(NOW, 4)
    assert seen == [FIRST_ALLOWANCE, 3, 4, 4, 4]
    assert pace.proven


def test_each_failure_halves_what_may_fly_down_to_one() -> None:
    assert [failing(n, Pace(allowance=10)).allowance for n in range(5)] == [10, 5, 2, 1, 1]


def test_a_run_of_failures_loses_the_proof() -> None:
    proven = Pace().after_success(NOW, 10)
    assert failing(UNPROVEN_AFTER - 1, proven).proven
    assert not failing(UNPROVEN_AFTER, proven).proven


def test_I4_the_circuit_opens_after_a_run_of_failures_and_closes_at_the_first_success() -> None:
    assert not failing(OPEN_AFTER - 1).is_open
    opened = failing(OPEN_AFTER)
    assert opened.is_open
    assert opened.open_until == NOW + FIRST_PROBE
    closed = opened.after_success(NOW + FIRST_PROBE, 10)
    assert not closed.is_open
    assert (closed.allowance, closed.failure_streak, closed.failing_since) == (FIRST_ALLOWANCE, 0, None)
    assert closed.recovered_at == NOW + FIRST_PROBE


def test_probes_come_ever_less_often_up_to_a_bound() -> None:
    pace, now, gaps = failing(OPEN_AFTER), NOW, []
    for _ in range(12):
        gaps.append((pace.open_until - now) // SECOND)
        now = pace.open_until
        pace = pace.after_failure(now, started_at=now, dice=0.0)
    assert gaps == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600, 600]


def test_what_began_before_the_circuit_opened_is_no_probe() -> None:
    """A thousand attempts of one blip must not push the next probe to ten minutes."""
    opened = failing(OPEN_AFTER)
    late = opened
    for _ in range(1000):
        late = late.after_failure(NOW + SECOND, started_at=NOW - SECOND, dice=0.0)
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
    pace = failing(20).after_success(NOW, 10)
    assert why_disable(failing(20, pace, NOW + DISABLE_SPAN), NOW + DISABLE_SPAN, 500) is None


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3600)), max_size=60),
    st.integers(1, 50),
    st.floats(0, 1, exclude_max=True),
)
def test_whatever_is_answered_the_pace_stays_within_its_bounds(
    answers: list[tuple[bool, int]], limit: int, dice: float
) -> None:
    pace, now = Pace(allowance=min(FIRST_ALLOWANCE, limit)), NOW
    for succeeded, seconds in answers:
        now += seconds * SECOND
        pace = (
            pace.after_success(now, limit)
            if succeeded
            else pace.after_failure(now, started_at=now, dice=dice)
        )
        assert 1 <= pace.allowance <= limit
        assert pace.is_open == (pace.failure_streak >= OPEN_AFTER)
        assert (pace.failing_since is None) == (pace.failure_streak == 0)
        assert pace.open_until <= now + round(LONGEST_PROBE * (1 + PROBE_JITTER)) + 1


def test_what_is_blocked_is_blocked_since_the_circuit_opened() -> None:
    opened = failing(OPEN_AFTER)
    assert (opened.opened_at, opened.blocked_since, opened.wait_began_at) == (NOW, NOW, NOW)
    later = failing(1, opened, NOW + SECOND)
    assert later.wait_began_at == NOW
    closed = later.after_success(NOW + 2 * SECOND, 10)
    assert closed.wait_began_at is None


def test_an_open_circuit_of_which_nothing_else_is_known_blocks_since_it_opened() -> None:
    old = Pace(opened_at=NOW, failure_streak=OPEN_AFTER)
    assert old.wait_began_at == NOW
    closed = old.after_success(NOW + SECOND, 10)
    assert failing(OPEN_AFTER, closed, NOW + 2 * SECOND).wait_began_at == NOW


SHORT = st.integers(0, STEADY_AFTER - 1)


@given(st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=8), st.integers(1, 5))
def test_recoveries_shorter_than_an_hour_never_move_it_and_a_steady_hour_does(
    flaps: list[tuple[Micros, Micros]], successes: int
) -> None:
    pace, now = failing(OPEN_AFTER), NOW
    for closed_for, open_for in flaps:
        pace = answered(pace, now, successes)
        now += closed_for
        pace = failing(OPEN_AFTER, pace, now)
        assert (pace.wait_began_at, pace.opened_at) == (NOW, now)
        now += open_for
    pace = answered(pace, now, successes)
    now += STEADY_AFTER
    assert failing(OPEN_AFTER, pace, now).wait_began_at == now


def answered(pace: Pace, now: Micros, times: int) -> Pace:
    for _ in range(times):
        pace = pace.after_success(now, 10)
    return pace


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-7200, 7200)), max_size=30))
def test_whatever_the_answers_and_the_clock_an_open_circuit_blocks_since_it_opened_or_before(
    answers: list[tuple[int, int]],
) -> None:
    """Each is so many failures, and then a success if there were none; clocks may be set back."""
    pace, now = Pace(), NOW
    for failures, seconds in answers:
        now += seconds * SECOND
        pace = failing(failures, pace, now) if failures else pace.after_success(now, 10)
        assert (pace.wait_began_at is None) == (pace.opened_at is None)
        if pace.opened_at is not None and pace.wait_began_at is not None:
            assert pace.wait_began_at <= pace.opened_at
