"""When things happen next: retries and Retry-After (R1 to R4), pace, polls. Pure code, no waiting."""

import random
from collections import Counter
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.common.time import US_PER_SECOND, Micros
from relay.deliveries.rules.retry_policy import http_date, retry_after_seconds, retry_at
from relay.endpoints.rules.circuit_breaker import (
    COLD_AFTER,
    FIRST_CONCURRENCY_LIMIT,
    OPEN_AFTER,
    EndpointHealth,
)

STEPS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)  # the default schedule
NOW: Micros = round(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()) * US_PER_SECOND
DICE = st.floats(0, 1, exclude_max=True)
NEARLY_ONE = 1 - 2**-53


def delay(step: int, retry_after: str | None = None, rng: float = 0.5) -> float:
    """Seconds until the next attempt."""
    at = retry_at(NOW, step, STEPS, retry_after=retry_after, rng=rng)
    assert at is not None
    return (at - NOW) / US_PER_SECOND


def in_two_minutes() -> datetime:
    return datetime.fromtimestamp(NOW // US_PER_SECOND + 120, UTC)


ASKING_FOR_TWO_MINUTES = {
    "seconds": "120",
    "blanks around": " \t120 ",
    "IMF-fixdate": format_datetime(in_two_minutes(), usegmt=True),
    "RFC 850": f"{in_two_minutes():%A, %d-%b-%y %H:%M:%S} GMT",
    "asctime": f"{in_two_minutes():%a %b} {in_two_minutes().day:2d} {in_two_minutes():%H:%M:%S %Y}",
}


@given(step=st.integers(0, len(STEPS) - 1), rng=DICE)
def test_a_retry_is_due_after_its_step_give_or_take_a_fifth(step: int, rng: float) -> None:
    assert 0.8 * STEPS[step] <= delay(step, rng=rng) <= 1.2 * STEPS[step]


def test_the_jitter_uses_its_whole_width() -> None:
    assert delay(1, rng=0.0) == 240
    assert delay(1, rng=0.5) == 300
    assert delay(1, rng=NEARLY_ONE) == pytest.approx(360)


@pytest.mark.parametrize("step", [len(STEPS), len(STEPS) + 1])
@pytest.mark.parametrize("retry_after", [None, "120"])
def test_after_the_last_step_there_is_no_retry_whatever_is_asked_for(
    step: int, retry_after: str | None
) -> None:
    assert retry_at(NOW, step, STEPS, retry_after=retry_after, rng=0.5) is None
    assert retry_at(NOW, 0, (), retry_after=retry_after, rng=0.5) is None


@pytest.mark.parametrize("header", ASKING_FOR_TWO_MINUTES.values(), ids=ASKING_FOR_TWO_MINUTES.keys())
def test_R1_retry_after_is_read_in_all_its_forms(header: str) -> None:
    assert retry_after_seconds(header, NOW) == 120
    assert delay(0, header, rng=0.0) == 120
    assert delay(0, header, rng=NEARLY_ONE) == pytest.approx(144)


@given(asked=st.integers(0, STEPS[-1]), step=st.integers(0, len(STEPS) - 1), rng=DICE)
@example(asked=233, step=0, rng=NEARLY_ONE)
def test_R1_a_retry_is_never_earlier_than_asked_nor_earlier_than_the_schedules_own(
    asked: int, step: int, rng: float
) -> None:
    due = delay(step, str(asked), rng)
    assert due >= asked
    assert due >= delay(step, rng=rng)
    assert due <= round(1.2 * max(asked, STEPS[step]), 6)  # 1.2 * 233 is a bit less than 279.6


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Tue, 30 Jun 2026 23:59:60 GMT", datetime(2026, 7, 1, tzinfo=UTC)),  # a leap second
        ("Sun Nov  6 08:49:37 2026", datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Friday, 06-Nov-76 08:49:37 GMT", datetime(2076, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sunday, 06-Nov-77 08:49:37 GMT", datetime(1977, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        (
            "Sun, 06 Nov 0094 08:49:37 GMT",
            datetime(94, 11, 6, 8, 49, 37, tzinfo=UTC),
        ),  # four digits are a year
    ],
)
def test_R1_dates_are_exact_to_the_second(header: str, seconds: datetime) -> None:
    assert http_date(header, NOW) == round(seconds.timestamp()) * US_PER_SECOND


def test_R1_a_two_digit_year_is_the_next_centurys_at_the_end_of_one() -> None:
    new_years_eve = round(datetime(2099, 12, 31, 23, 59, 0, tzinfo=UTC).timestamp()) * US_PER_SECOND
    assert retry_after_seconds("Friday, 01-Jan-00 00:00:00 GMT", new_years_eve) == 60


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "-5",
        "+60",
        "1_000",
        "1e3",
        "1.5",
        "0x10",
        "inf",
        "-inf",
        "nan",
        "１２０",  # noqa: RUF001 - full-width digits are the case
        "١٢٠",
        "120 s",
        "120, 240",
        "120\n",
        "Sun, 06 Nov 2094 08:49:37",  # no zone
        "Sun, 06 Nov 2094 08:49:37 +0000",
        "Sun, 06 Nov 2094 08:49:37 PST",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 31 Feb 2094 08:49:37 GMT",
        "Sun, 00 Nov 2094 08:49:37 GMT",
        "Sun, 06 Nov 2094 24:49:37 GMT",
        "Sun, 06 Nov 2094 08:60:37 GMT",
        "Sun, 06 Nov 2094 08:49:61 GMT",
        "Sun, 06 nov 2094 08:49:37 GMT",
        "Sun, ０6 Nov 2094 08:49:37 GMT",  # noqa: RUF001 - a full-width digit is the case
        "2094-11-06T08:49:37Z",
        "\ud800",
    ],
)
def test_R2_nonsense_is_ignored(header: str) -> None:
    assert retry_after_seconds(header, NOW) is None
    assert delay(0, header, rng=0.0) == 4


@pytest.mark.parametrize(
    "header", ["86401", "99999999999999", "9" * 20, "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"]
)
@pytest.mark.parametrize("step", [0, len(STEPS) - 1])
def test_R2_more_than_the_longest_step_counts_as_that_step(header: str, step: int) -> None:
    assert delay(step, header, rng=0.0) == STEPS[-1]
    assert delay(step, header, rng=NEARLY_ONE) == pytest.approx(1.2 * STEPS[-1])


HEADERISH = st.one_of(
    st.text(),
    st.text("0123456789 +-_.eE\t"),
    st.from_regex(r"[A-Z][a-z]+, [0-9]{2}[ -][A-Z][a-z]{2}[ -][0-9]{2,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"),
    st.from_regex(r"[A-Z][a-z]{2} (Jan|Feb|Dec) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"),
)


@given(header=HEADERISH, step=st.integers(0, len(STEPS) - 1), rng=DICE)
@example(header="0" * 5000, step=0, rng=0.0)
def test_R2_no_text_raises_or_moves_a_retry_out_of_its_bounds(header: str, step: int, rng: float) -> None:
    assert 0.8 * STEPS[step] <= delay(step, header, rng) <= 1.2 * STEPS[-1]


@pytest.mark.parametrize(
    "header",
    ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
@pytest.mark.parametrize("rng", [0.0, 0.5, NEARLY_ONE])
def test_R3_a_moment_in_the_past_leaves_the_schedules_own_delay(header: str, rng: float) -> None:
    assert delay(1, header, rng) == delay(1, rng=rng)


def busiest_to_mean(due: list[Micros]) -> float:
    """The busiest second of these moments as a multiple of the mean over the seconds that they span."""
    seconds = Counter(at // US_PER_SECOND for at in due)
    return max(seconds.values()) / (len(due) / (max(seconds) - min(seconds) + 1))


def retries_of(failures: int, step: int, seed: int, retry_after: str | None = None) -> list[Micros]:
    """When the retries of so many failures within one second are due."""
    rng = random.Random(seed)
    moments = (NOW + round(rng.random() * US_PER_SECOND) for _ in range(failures))
    due = (retry_at(moment, step, STEPS, retry_after=retry_after, rng=rng.random()) for moment in moments)
    return [at for at in due if at is not None]


@pytest.mark.parametrize("seed", range(5))
def test_R4_a_thousand_failures_of_one_second_come_back_spread_out(seed: int) -> None:
    assert busiest_to_mean(retries_of(1000, 1, seed)) <= 3
    # The first step's jitter is two seconds wide, so these come back within three seconds, evenly
    # for that window; no jitter of a fifth can spread five seconds further. Half of them fall into
    # one second.
    first = retries_of(1000, 0, seed)
    assert busiest_to_mean(first) <= 3
    assert max(Counter(at // US_PER_SECOND for at in first).values()) < 600


@pytest.mark.parametrize("step", range(1, len(STEPS)))
def test_R4_every_step_spreads_evenly(step: int) -> None:
    # Of the longest steps' windows a thousand retries fill few seconds at all: one alone is beyond
    # three times a mean of 0.03. So each step gets failures in proportion to its length, eight for
    # each second.
    failures = 8 * round(0.4 * STEPS[step])
    due = [retry_at(NOW, step, STEPS, retry_after=None, rng=(n + 0.5) / failures) for n in range(failures)]
    assert busiest_to_mean([at for at in due if at is not None]) <= 1.5
    few = retries_of(1000, step, seed=step)
    assert max(Counter(at // US_PER_SECOND for at in few).values()) <= 25


@pytest.mark.parametrize("retry_after", ["120", "290", "300", "310"])
def test_R4_receivers_that_all_ask_for_the_same_wait_are_spread_too(retry_after: str) -> None:
    assert busiest_to_mean(retries_of(1000, 1, 7, retry_after)) <= 3


ANSWERS = st.lists(st.booleans(), max_size=60)


def pace_after(answers: list[bool], limit: int) -> list[EndpointHealth]:
    """The pace at first and after each answer, one microsecond apart; a True is a success."""
    healths = [EndpointHealth(concurrency_limit=min(FIRST_CONCURRENCY_LIMIT, limit))]
    for number, success in enumerate(answers):
        last, now = healths[-1], NOW + number
        after = (
            last.after_success(now, limit) if success else last.after_failure(now, started_at=now, rng=0.5)
        )
        healths.append(after)
    return healths


@given(answers=ANSWERS, limit=st.integers(1, 50))
def test_an_allowance_stays_between_one_and_the_limit(answers: list[bool], limit: int) -> None:
    assert all(1 <= health.concurrency_limit <= limit for health in pace_after(answers, limit))


@given(answers=ANSWERS)
def test_the_streak_counts_the_failures_since_the_last_success_and_when_they_began(
    answers: list[bool],
) -> None:
    for count, health in enumerate(pace_after(answers, 10)):
        seen = answers[:count]
        streak = next((back for back, success in enumerate(reversed(seen)) if success), len(seen))
        assert health.failure_streak == streak
        assert health.failing_since == (NOW + count - streak if streak else None)
        assert health.warmed_up == (any(seen) and streak < COLD_AFTER)
        assert health.is_open == (streak >= OPEN_AFTER)


def test_successes_reach_the_limit_and_a_lower_limit_holds_at_once() -> None:
    assert [health.concurrency_limit for health in pace_after([True] * 10, 6)] == [
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
    assert EndpointHealth(concurrency_limit=40).after_success(NOW, 5).concurrency_limit == 5


def test_failures_halve_down_to_one() -> None:
    healths = pace_after([True] * 20 + [False] * 6, 20)[20:]
    assert [health.concurrency_limit for health in healths] == [20, 10, 5, 2, 1, 1, 1]
