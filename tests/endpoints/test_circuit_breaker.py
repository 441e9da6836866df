"""The concurrency limit and circuit breaker of an endpoint, and when it is disabled."""

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
    CircuitBreaker,
)

NOW: Micros = 1_700_000_000 * US_PER_SECOND


def failing(times: int, circuit: CircuitBreaker | None = None, now: Micros = NOW) -> CircuitBreaker:
    circuit = circuit or CircuitBreaker()
    for _ in range(times):
        circuit = circuit.after_failure(now, started_at=now, jitter=0.0)
    return circuit


def test_each_success_raises_the_concurrency_limit_by_one_up_to_the_endpoints_own() -> None:
    circuit, seen = CircuitBreaker(), []
    for _ in range(5):
        seen.append(circuit.concurrency_limit)
        circuit = circuit.after_success(NOW, 4)
    assert seen == [FIRST_CONCURRENCY_LIMIT, 3, 4, 4, 4]
    assert circuit.warmed_up


def test_each_failure_halves_the_concurrency_limit_down_to_one() -> None:
    assert [failing(n, CircuitBreaker(concurrency_limit=10)).concurrency_limit for n in range(5)] == [
        10,
        5,
        2,
        1,
        1,
    ]


def test_a_run_of_failures_makes_an_endpoint_cold() -> None:
    warmed_up = CircuitBreaker().after_success(NOW, 10)
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
    circuit, now, gaps = failing(OPEN_AFTER), NOW, []
    for _ in range(12):
        gaps.append((circuit.open_until - now) // US_PER_SECOND)
        now = circuit.open_until
        circuit = circuit.after_failure(now, started_at=now, jitter=0.0)
    assert gaps == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600, 600]


def test_what_began_before_the_circuit_opened_is_no_probe() -> None:
    """A thousand attempts of one blip must not push the next probe to ten minutes."""
    opened = failing(OPEN_AFTER)
    late = opened
    for _ in range(1000):
        late = late.after_failure(NOW + US_PER_SECOND, started_at=NOW - US_PER_SECOND, jitter=0.0)
    assert (late.open_until, late.probe_count) == (opened.open_until, 0)


def test_a_410_disables_at_once() -> None:
    assert failing(1).disable_reason(NOW, 410) is DisabledReason.GONE


def test_ten_failures_over_five_days_disable() -> None:
    first = failing(1)
    almost = failing(8, first, NOW + DISABLE_SPAN)
    assert almost.disable_reason(NOW + DISABLE_SPAN, 500) is None
    tenth = failing(1, almost, NOW + DISABLE_SPAN)
    assert tenth.disable_reason(NOW + DISABLE_SPAN - 1, 500) is None
    assert tenth.disable_reason(NOW + DISABLE_SPAN, 500) is DisabledReason.FAILING


def test_a_success_in_between_starts_the_five_days_anew() -> None:
    circuit = failing(20).after_success(NOW, 10)
    assert failing(20, circuit, NOW + DISABLE_SPAN).disable_reason(NOW + DISABLE_SPAN, 500) is None


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3600)), max_size=60),
    st.integers(1, 50),
    st.floats(0, 1, exclude_max=True),
)
def test_whatever_is_answered_the_concurrency_limit_stays_within_its_bounds(
    answers: list[tuple[bool, int]], limit: int, jitter: float
) -> None:
    circuit, now = CircuitBreaker(concurrency_limit=min(FIRST_CONCURRENCY_LIMIT, limit)), NOW
    for succeeded, seconds in answers:
        now += seconds * US_PER_SECOND
        circuit = (
            circuit.after_success(now, limit)
            if succeeded
            else circuit.after_failure(now, started_at=now, jitter=jitter)
        )
        assert 1 <= circuit.concurrency_limit <= limit
        assert circuit.is_open == (circuit.failure_streak >= OPEN_AFTER)
        assert (circuit.failing_since is None) == (circuit.failure_streak == 0)
        assert circuit.open_until <= now + round(LONGEST_PROBE * (1 + PROBE_JITTER)) + 1


def test_what_is_blocked_is_blocked_since_the_circuit_opened() -> None:
    opened = failing(OPEN_AFTER)
    assert (opened.opened_at, opened.blocked_since, opened.wait_began_at) == (NOW, NOW, NOW)
    later = failing(1, opened, NOW + US_PER_SECOND)
    assert later.wait_began_at == NOW
    closed = later.after_success(NOW + 2 * US_PER_SECOND, 10)
    assert closed.wait_began_at is None


def test_an_open_circuit_of_which_nothing_else_is_known_blocks_since_it_opened() -> None:
    old = CircuitBreaker(opened_at=NOW, failure_streak=OPEN_AFTER)
    assert old.wait_began_at == NOW
    closed = old.after_success(NOW + US_PER_SECOND, 10)
    assert failing(OPEN_AFTER, closed, NOW + 2 * US_PER_SECOND).wait_began_at == NOW


SHORT = st.integers(0, STEADY_AFTER - 1)


@given(st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=8), st.integers(1, 5))
def test_recoveries_shorter_than_an_hour_never_move_it_and_a_steady_hour_does(
    flaps: list[tuple[Micros, Micros]], successes: int
) -> None:
    circuit, now = failing(OPEN_AFTER), NOW
    for closed_for, open_for in flaps:
        circuit = answered(circuit, now, successes)
        now += closed_for
        circuit = failing(OPEN_AFTER, circuit, now)
        assert (circuit.wait_began_at, circuit.opened_at) == (NOW, now)
        now += open_for
    circuit = answered(circuit, now, successes)
    now += STEADY_AFTER
    assert failing(OPEN_AFTER, circuit, now).wait_began_at == now


def answered(circuit: CircuitBreaker, now: Micros, times: int) -> CircuitBreaker:
    for _ in range(times):
        circuit = circuit.after_success(now, 10)
    return circuit


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-7200, 7200)), max_size=30))
def test_whatever_the_answers_and_the_clock_an_open_circuit_blocks_since_it_opened_or_before(
    answers: list[tuple[int, int]],
) -> None:
    """Each is so many failures, and then a success if there were none; clocks may be set back."""
    circuit, now = CircuitBreaker(), NOW
    for failures, seconds in answers:
        now += seconds * US_PER_SECOND
        circuit = failing(failures, circuit, now) if failures else circuit.after_success(now, 10)
        assert (circuit.wait_began_at is None) == (circuit.opened_at is None)
        if circuit.opened_at is not None and circuit.wait_began_at is not None:
            assert circuit.wait_began_at <= circuit.opened_at


ANSWERS = st.lists(st.booleans(), max_size=60)


def circuits_after(answers: list[bool], limit: int) -> list[CircuitBreaker]:
    """The circuit breaker at first and after each answer, a microsecond apart; True: a success."""
    circuits = [CircuitBreaker(concurrency_limit=min(FIRST_CONCURRENCY_LIMIT, limit))]
    for number, success in enumerate(answers):
        last, now = circuits[-1], NOW + number
        after = (
            last.after_success(now, limit) if success else last.after_failure(now, started_at=now, jitter=0.5)
        )
        circuits.append(after)
    return circuits


@given(answers=ANSWERS, limit=st.integers(1, 50))
def test_the_concurrency_limit_stays_between_one_and_the_limit(answers: list[bool], limit: int) -> None:
    assert all(1 <= circuit.concurrency_limit <= limit for circuit in circuits_after(answers, limit))


@given(answers=ANSWERS)
def test_the_streak_counts_the_failures_since_the_last_success_and_when_they_began(
    answers: list[bool],
) -> None:
    for count, circuit in enumerate(circuits_after(answers, 10)):
        seen = answers[:count]
        streak = next((back for back, success in enumerate(reversed(seen)) if success), len(seen))
        assert circuit.failure_streak == streak
        assert circuit.failing_since == (NOW + count - streak if streak else None)
        assert circuit.warmed_up == (any(seen) and streak < COLD_AFTER)
        assert circuit.is_open == (streak >= OPEN_AFTER)


def test_successes_reach_the_limit_and_a_lower_limit_holds_at_once() -> None:
    assert [circuit.concurrency_limit for circuit in circuits_after([True] * 10, 6)] == [
        2,
        3,
        4,
        5,
        6,
        6,
        6,
        6,
        6,
        6,
        6,
    ]
    assert CircuitBreaker(concurrency_limit=40).after_success(NOW, 5).concurrency_limit == 5


def test_failures_halve_down_to_one() -> None:
    circuits = circuits_after([True] * 20 + [False] * 6, 20)[20:]
    assert [circuit.concurrency_limit for circuit in circuits] == [20, 10, 5, 2, 1, 1, 1]
