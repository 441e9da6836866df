"""The retry policy: what becomes of a delivery, and when it is tried again (R1 to R4)."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.common.events import TEST
from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.db.leases import GIVE_UP_AFTER
from relay.deliveries.rules.retry_policy import (
    BLOCKED_TOO_LONG,
    CANCELLED,
    DELIVERED,
    FAILED,
    LOST,
    LOST_TOO_OFTEN,
    Decision,
    RetryPolicy,
)
from relay.endpoints.rules.circuit_breaker import GIVE_UP_PROBES, CircuitBreaker
from relay.endpoints.rules.endpoint_update import EndpointLimits, EndpointUpdate
from relay.sending.rules.outbound import Reply
from tests.deliveries.test_retry_after import ASKING_FOR_TWO_MINUTES, HEADERISH, NONSENSE

DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)  # by default
POLICY = RetryPolicy(DELAYS, longest_hold=30 * 86_400 * US_PER_SECOND)
NOW: Micros = round(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()) * US_PER_SECOND
JITTER = st.floats(0, 1, exclude_max=True)
RETRIES = st.integers(0, len(DELAYS) - 1)
MOMENTS = st.integers(NOW - 4 * POLICY.longest_wait, NOW)
NEARLY_ONE = 1 - 2**-53


def delay(retry_count: int, retry_after: str | None = None, jitter: float = 0.5) -> float:
    """Seconds until the next attempt."""
    due_at = POLICY.retry_at(NOW, retry_count, retry_after, jitter)
    assert due_at is not None
    return (due_at - NOW) / US_PER_SECOND


@given(retry_count=RETRIES, jitter=JITTER)
def test_a_retry_is_due_after_its_delay_give_or_take_a_fifth(retry_count: int, jitter: float) -> None:
    assert 0.8 * DELAYS[retry_count] <= delay(retry_count, jitter=jitter) <= 1.2 * DELAYS[retry_count]


def test_the_jitter_uses_its_whole_width() -> None:
    assert delay(1, jitter=0.0) == 240
    assert delay(1, jitter=0.5) == 300
    assert delay(1, jitter=NEARLY_ONE) == pytest.approx(360)


@pytest.mark.parametrize("retry_count", [len(DELAYS), len(DELAYS) + 1])
@pytest.mark.parametrize("retry_after", [None, "120"])
def test_after_the_last_delay_there_is_no_retry_whatever_is_asked_for(
    retry_count: int, retry_after: str | None
) -> None:
    assert POLICY.retry_at(NOW, retry_count, retry_after, 0.5) is None
    assert RetryPolicy((), longest_hold=0).retry_at(NOW, 0, retry_after, 0.5) is None


@pytest.mark.parametrize("header", ASKING_FOR_TWO_MINUTES.values(), ids=ASKING_FOR_TWO_MINUTES.keys())
def test_R1_retry_after_counts_in_all_its_forms(header: str) -> None:
    assert delay(0, header, jitter=0.0) == 120
    assert delay(0, header, jitter=NEARLY_ONE) == pytest.approx(144)


@given(asked=st.integers(0, round(DELAYS[-1])), retry_count=RETRIES, jitter=JITTER)
@example(asked=233, retry_count=0, jitter=NEARLY_ONE)
def test_R1_a_retry_is_never_earlier_than_asked_nor_earlier_than_the_schedules_own(
    asked: int, retry_count: int, jitter: float
) -> None:
    due = delay(retry_count, str(asked), jitter)
    assert due >= asked
    assert due >= delay(retry_count, jitter=jitter)
    assert due <= round(1.2 * max(asked, DELAYS[retry_count]), 6)  # 1.2 * 233 is a bit less than 279.6


@pytest.mark.parametrize("header", NONSENSE)
def test_R2_nonsense_leaves_the_schedules_own_delay(header: str) -> None:
    assert delay(0, header, jitter=0.0) == 4


@pytest.mark.parametrize(
    "header", ["86401", "99999999999999", "9" * 20, "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"]
)
@pytest.mark.parametrize("retry_count", [0, len(DELAYS) - 1])
def test_R2_more_than_the_longest_delay_counts_as_that_delay(header: str, retry_count: int) -> None:
    assert delay(retry_count, header, jitter=0.0) == DELAYS[-1]
    assert delay(retry_count, header, jitter=NEARLY_ONE) == pytest.approx(1.2 * DELAYS[-1])


@given(header=HEADERISH, retry_count=RETRIES, jitter=JITTER)
@example(header="0" * 5000, retry_count=0, jitter=0.0)
def test_R2_no_text_raises_or_moves_a_retry_out_of_its_bounds(
    header: str, retry_count: int, jitter: float
) -> None:
    assert 0.8 * DELAYS[retry_count] <= delay(retry_count, header, jitter) <= 1.2 * DELAYS[-1]


@pytest.mark.parametrize(
    "header",
    ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
@pytest.mark.parametrize("jitter", [0.0, 0.5, NEARLY_ONE])
def test_R3_a_moment_in_the_past_leaves_the_schedules_own_delay(header: str, jitter: float) -> None:
    assert delay(1, header, jitter) == delay(1, jitter=jitter)


def busiest_to_mean(due: list[Micros]) -> float:
    """The busiest second of these moments as a multiple of the mean of the seconds they span."""
    seconds = Counter(at // US_PER_SECOND for at in due)
    return max(seconds.values()) / (len(due) / (max(seconds) - min(seconds) + 1))


def retries_of(failures: int, retry_count: int, seed: int, retry_after: str | None = None) -> list[Micros]:
    """When the retries of so many failures within one second are due."""
    rng = random.Random(seed)
    moments = (NOW + round(rng.random() * US_PER_SECOND) for _ in range(failures))
    due = (POLICY.retry_at(moment, retry_count, retry_after, rng.random()) for moment in moments)
    return [at for at in due if at is not None]


@pytest.mark.parametrize("seed", range(5))
def test_R4_a_thousand_failures_of_one_second_come_back_spread_out(seed: int) -> None:
    assert busiest_to_mean(retries_of(1000, 1, seed)) <= 3
    # The first delay's jitter is two seconds wide, so these come back within three seconds, evenly
    # for that window; no jitter of a fifth can spread five seconds further. Half of them fall into
    # one second.
    first = retries_of(1000, 0, seed)
    assert busiest_to_mean(first) <= 3
    assert max(Counter(at // US_PER_SECOND for at in first).values()) < 600


@pytest.mark.parametrize("retry_count", range(1, len(DELAYS)))
def test_R4_every_delay_spreads_evenly(retry_count: int) -> None:
    # Of the longest delays' windows a thousand retries fill few seconds at all: one alone is beyond
    # three times a mean of 0.03. So each delay gets failures in proportion to its length, eight for
    # each second.
    failures = 8 * round(0.4 * DELAYS[retry_count])
    due = [POLICY.retry_at(NOW, retry_count, None, (n + 0.5) / failures) for n in range(failures)]
    assert busiest_to_mean([at for at in due if at is not None]) <= 1.5
    few = retries_of(1000, retry_count, seed=retry_count)
    assert max(Counter(at // US_PER_SECOND for at in few).values()) <= 25


@pytest.mark.parametrize("retry_after", ["120", "290", "300", "310"])
def test_R4_receivers_that_all_ask_for_the_same_wait_are_spread_too(retry_after: str) -> None:
    assert busiest_to_mean(retries_of(1000, 1, 7, retry_after)) <= 3


@dataclass
class Row:
    """The columns of a delivery that the policy reads."""

    event: str = "ai_job.success"
    retry_count: int = 0
    schedule_started_at: Micros = NOW
    cancel_requested: int = 0
    lost_count: int = 0


ROWS = st.builds(
    Row,
    event=st.sampled_from(["ai_job.success", TEST.name]),
    retry_count=st.integers(0, len(DELAYS) + 1),
    schedule_started_at=MOMENTS,
    cancel_requested=st.integers(0, 1),
    lost_count=st.integers(0, GIVE_UP_AFTER),
)
CIRCUITS = st.builds(
    CircuitBreaker,
    opened_at=st.none() | MOMENTS,
    blocked_since=st.none() | MOMENTS,
    probe_count=st.integers(0, 2 * GIVE_UP_PROBES),
)
DUE_LATER = Decision(DeliveryStatus.PENDING, NOW + 5 * US_PER_SECOND, retries_used=1)
CLOSED = CircuitBreaker()
HELD = Decision(DeliveryStatus.PENDING, NOW)


def decide(
    row: Row,
    circuit: CircuitBreaker = CLOSED,
    *,
    error: ErrorClass | None = ErrorClass.HTTP_5XX,
    is_disabled: bool = False,
    retry_after: str | None = None,
    jitter: float = 0.5,
) -> Decision:
    reply = Reply("key", 500, error, "no", b"", 1, retry_after)
    endpoint = EndpointUpdate("ep_1", EndpointLimits(), is_disabled, circuit, circuit)
    return POLICY.decide(reply, row, endpoint, circuit, NOW, jitter)


@given(row=ROWS, circuit=CIRCUITS, is_disabled=st.booleans())
def test_a_2xx_delivers_whatever_else_is(row: Row, circuit: CircuitBreaker, *, is_disabled: bool) -> None:
    assert decide(row, circuit, error=None, is_disabled=is_disabled) == DELIVERED


@given(row=ROWS, circuit=CIRCUITS, is_disabled=st.booleans())
def test_a_test_is_sent_once(row: Row, circuit: CircuitBreaker, *, is_disabled: bool) -> None:
    assert decide(replace(row, event=TEST.name), circuit, is_disabled=is_disabled) == FAILED


@given(circuit=CIRCUITS, is_disabled=st.booleans())
def test_what_was_cancelled_is_not_sent_again(circuit: CircuitBreaker, *, is_disabled: bool) -> None:
    assert decide(Row(cancel_requested=1), circuit, is_disabled=is_disabled) == CANCELLED


@given(retry_count=st.integers(0, 2 * len(DELAYS)), circuit=CIRCUITS)
def test_at_a_disabled_endpoint_it_is_held_and_no_retry_is_used_up(
    retry_count: int, circuit: CircuitBreaker
) -> None:
    assert decide(Row(retry_count=retry_count), circuit, is_disabled=True) == HELD


def test_a_failure_uses_up_one_retry_and_the_last_one_fails() -> None:
    assert decide(Row()) == DUE_LATER
    assert decide(Row(retry_count=len(DELAYS) - 1)).status is DeliveryStatus.PENDING
    assert decide(Row(retry_count=len(DELAYS))) == FAILED


@given(row=ROWS, probe_count=st.integers(0, GIVE_UP_PROBES - 1), opened_at=MOMENTS)
def test_a_probe_of_a_circuit_that_just_opened_ends_no_wait_and_uses_up_no_retry(
    row: Row, probe_count: int, opened_at: Micros
) -> None:
    circuit = CircuitBreaker(opened_at=opened_at, probe_count=probe_count)
    row = replace(row, event="ai_job.success", cancel_requested=0)
    assert decide(row, circuit) == HELD


@given(began_at=MOMENTS, opened_at=MOMENTS, blocked_since=st.none() | MOMENTS)
def test_what_waited_too_long_behind_an_open_circuit_fails_and_nothing_else_does(
    began_at: Micros, opened_at: Micros, blocked_since: Micros | None
) -> None:
    circuit = CircuitBreaker(opened_at=opened_at, blocked_since=blocked_since, probe_count=GIVE_UP_PROBES)
    since = max(began_at, opened_at if blocked_since is None else blocked_since)
    decision = decide(Row(schedule_started_at=began_at), circuit)
    if NOW - since > 2 * sum(DELAYS) * US_PER_SECOND:
        assert decision == Decision(DeliveryStatus.FAILED, reason=BLOCKED_TOO_LONG)
    else:
        assert decision == HELD


@given(header=HEADERISH | st.integers(-10, 10**9).map(str), jitter=JITTER)
def test_a_probe_waits_as_long_as_it_is_asked_to_within_the_longest_delay(header: str, jitter: float) -> None:
    circuit = CircuitBreaker(opened_at=NOW)
    due_at = decide(Row(), circuit, retry_after=header, jitter=jitter).next_attempt_at
    assert due_at is not None
    assert 0 <= due_at - NOW <= DELAYS[-1] * US_PER_SECOND
    if header.isascii() and header.isdigit():
        assert due_at - NOW == min(int(header), DELAYS[-1]) * US_PER_SECOND


@given(
    row=ROWS, circuit=CIRCUITS, is_disabled=st.booleans(), retry_after=st.none() | HEADERISH, jitter=JITTER
)
def test_every_decision_is_one_that_the_table_takes(
    row: Row, circuit: CircuitBreaker, *, is_disabled: bool, retry_after: str | None, jitter: float
) -> None:
    """Pending has a time that is not past, an end has none; only pending uses up a retry."""
    decision = decide(row, circuit, is_disabled=is_disabled, retry_after=retry_after, jitter=jitter)
    if decision.status is DeliveryStatus.PENDING:
        assert decision.next_attempt_at is not None
        assert decision.next_attempt_at >= NOW
        assert decision.retries_used == (not is_disabled and not circuit.is_open)
    else:
        assert decision.status in {DeliveryStatus.FAILED, DeliveryStatus.CANCELLED}
        assert (decision.next_attempt_at, decision.retries_used) == (None, 0)


@given(row=ROWS)
def test_what_is_lost_is_sent_again_until_it_was_lost_five_times_in_a_row(row: Row) -> None:
    decision = POLICY.decide_lost(row.lost_count + 1, cancel_requested=bool(row.cancel_requested))
    if row.cancel_requested:
        assert decision == Decision(DeliveryStatus.CANCELLED, reason=LOST)
    elif row.lost_count + 1 >= GIVE_UP_AFTER:
        assert decision == Decision(DeliveryStatus.FAILED, reason=LOST_TOO_OFTEN)
    else:
        assert decision is None


def test_the_limits_of_waiting_are_the_schedule_twice_and_as_long_as_records_are_kept() -> None:
    assert NOW - POLICY.blocked_before(NOW) == 2 * sum(DELAYS) * US_PER_SECOND
    assert NOW - POLICY.held_before(NOW) == POLICY.longest_hold
