"""When things happen next: retries and their jitter, Retry-After.

Times are microseconds, `dice` are numbers in [0, 1).
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from relay.common.time import US_PER_SECOND, Micros

JITTER = 0.2  # of the step, either way: enough that a thousand failures of one second do not return as one


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = "|".join(MONTHS)
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
HTTP_DATES = (  # RFC 9110, section 5.6.7: IMF-fixdate, RFC 850, asctime
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>{_MONTH}) (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]+day, (?P<day>[0-9]{{2}})-(?P<month>{_MONTH})-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>{_MONTH}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def retry_at(
    now: Micros, retry_count: int, retry_delays: Sequence[float], *, retry_after: str | None, rng: float
) -> Micros | None:
    """When the next attempt is due after a failure, or None when the schedule is used up.

    `steps` are seconds, `step` the retries used so far. Jitter is ±20 %, but never earlier than
    what the receiver asked for with Retry-After; that counts as at most the schedule's longest
    step.
    """
    if retry_count >= len(retry_delays):
        return None
    delay = retry_delays[retry_count] * (1 - JITTER + 2 * JITTER * rng)
    asked = retry_after_seconds(retry_after, now)
    if asked is not None:
        delay = max(delay, min(asked, max(retry_delays)) * (1 + JITTER * rng))
    return now + round(delay * US_PER_SECOND)


def longest_wait(retry_delays: Sequence[float]) -> Micros:
    """How long a delivery may wait behind an open circuit before it fails: twice the schedule's length."""
    return round(2 * sum(retry_delays) * US_PER_SECOND)


def retry_after_seconds(value: str | None, now: Micros) -> float | None:
    """A Retry-After header in seconds from `now`: ASCII digits or an HTTP date; anything else is None.

    The result may be negative (a date in the past) and is not bounded above.
    """
    if value is None:
        return None
    value = value.strip(" \t")
    if re.fullmatch("[0-9]+", value):
        return float(value[:20]) if len(value) <= 20 else float("inf")
    at = http_date(value, now)
    return None if at is None else (at - now) / US_PER_SECOND


def http_date(value: str, now: Micros) -> Micros | None:
    """An HTTP date in any of its three forms; RFC 850's two-digit year is at most 50 years ahead of `now`."""
    match = next(filter(None, (form.fullmatch(value) for form in HTTP_DATES)), None)
    if match is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        latest = datetime.fromtimestamp(now // US_PER_SECOND, UTC).year + 50
        year = latest - (latest - year) % 100
    leap = match["second"] == "60"  # the same moment as the next minute's first second
    try:
        at = datetime(
            year,
            MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            int(match["second"]) - leap,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return (round(at.timestamp()) + leap) * US_PER_SECOND
