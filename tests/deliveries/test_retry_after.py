"""Retry-After in all its forms, and everything that is none of them (R1, R2). Pure code."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.time import US_PER_SECOND, Micros
from relay.deliveries.rules.retry_after import http_date, retry_after_seconds

NOW: Micros = round(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()) * US_PER_SECOND
IN_TWO_MINUTES = datetime.fromtimestamp(NOW // US_PER_SECOND + 120, UTC)
ASKING_FOR_TWO_MINUTES = {
    "seconds": "120",
    "blanks around": " \t120 ",
    "IMF-fixdate": format_datetime(IN_TWO_MINUTES, usegmt=True),
    "RFC 850": f"{IN_TWO_MINUTES:%A, %d-%b-%y %H:%M:%S} GMT",
    "asctime": f"{IN_TWO_MINUTES:%a %b} {IN_TWO_MINUTES.day:2d} {IN_TWO_MINUTES:%H:%M:%S %Y}",
}
NONSENSE = [
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
]
HEADERISH = st.one_of(
    st.text(),
    st.text("0123456789 +-_.eE\t"),
    st.from_regex(r"[A-Z][a-z]+, [0-9]{2}[ -][A-Z][a-z]{2}[ -][0-9]{2,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"),
    st.from_regex(r"[A-Z][a-z]{2} (Jan|Feb|Dec) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"),
)


@pytest.mark.parametrize("header", ASKING_FOR_TWO_MINUTES.values(), ids=ASKING_FOR_TWO_MINUTES.keys())
def test_R1_retry_after_is_read_in_all_its_forms(header: str) -> None:
    assert retry_after_seconds(header, NOW) == 120


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


@given(seconds=st.integers(-2_208_988_800, 253_402_300_799))  # 1900 to 9999
def test_R1_every_moment_is_read_to_the_second_in_the_forms_with_four_digits(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    for header in (
        format_datetime(moment, usegmt=True),
        f"{moment:%a %b} {moment.day:2d} {moment:%H:%M:%S} {moment.year}",
    ):
        assert http_date(header, NOW) == seconds * US_PER_SECOND


@pytest.mark.parametrize("header", NONSENSE)
def test_R2_nonsense_is_ignored(header: str) -> None:
    assert retry_after_seconds(header, NOW) is None


@given(header=HEADERISH, now=st.integers(0, 4_000_000_000 * US_PER_SECOND))
def test_R2_no_text_raises(header: str, now: Micros) -> None:
    assert isinstance(retry_after_seconds(header, now), float | None)
