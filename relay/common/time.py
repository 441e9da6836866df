"""Times: integer microseconds since the epoch, and how they are written for people."""

from datetime import UTC, datetime
from functools import lru_cache

Micros = int
US_PER_SECOND: Micros = 1_000_000


def rfc3339(time_us: Micros) -> str:
    """Write a time as `2026-01-02T03:04:05.678Z`: UTC, cut to milliseconds."""
    seconds, micros = divmod(time_us, US_PER_SECOND)
    return f"{_to_the_second(seconds)}.{micros // 1000:03d}Z"


@lru_cache(256)
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
