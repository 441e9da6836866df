"""The Retry-After header: seconds in ASCII digits, or an HTTP date in any of its three forms."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_tz

from relay.common.time import US_PER_SECOND, Micros

_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
HTTP_DATE = re.compile(  # RFC 9110, section 5.6.7: IMF-fixdate, RFC 850, asctime; email.utils takes far more
    rf"[A-Z][a-z]{{2}}, [0-9]{{2}} [A-Z][a-z]{{2}} [0-9]{{4}} {_TIME} GMT"
    rf"|[A-Z][a-z]+day, [0-9]{{2}}-[A-Z][a-z]{{2}}-[0-9]{{2}} {_TIME} GMT"
    rf"|[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ 0-9][0-9] {_TIME} [0-9]{{4}}"
)


def retry_after_seconds(value: str | None, now: Micros) -> float | None:
    """The seconds from `now` that a Retry-After header asks for; None for anything that is not one.

    The result may be negative (a date in the past) and is not bounded above.
    """
    if value is None:
        return None
    value = value.strip(" \t")
    if re.fullmatch("[0-9]+", value):
        return float(value[:20]) if len(value) <= 20 else float("inf")
    date_us = http_date(value, now)
    return None if date_us is None else (date_us - now) / US_PER_SECOND


def http_date(value: str, now: Micros) -> Micros | None:
    """Read an HTTP date; RFC 850's two-digit year is at most 50 years ahead of `now`."""
    fields = parsedate_tz(value) if HTTP_DATE.fullmatch(value) else None
    if fields is None:
        return None
    year, month, day, hour, minute, second, *_ = fields
    four_digits = re.search("[0-9]{4}", value)
    if four_digits is not None:
        year = int(four_digits[0])  # email.utils takes 0094 for 1994
    else:
        latest = datetime.fromtimestamp(now // US_PER_SECOND, UTC).year + 50
        year = latest - (latest - year) % 100
    leap = second == 60  # the same moment as the next minute's first second
    try:
        date = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
    except ValueError:
        return None
    return (round(date.timestamp()) + leap) * US_PER_SECOND
