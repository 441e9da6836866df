"""Texts that several parts write alike."""

from datetime import UTC, datetime
from functools import lru_cache

from relay.core.records import SECOND, Micros


def rfc3339(at: Micros) -> str:
    """Write a time as `2026-01-02T03:04:05.678Z`: UTC, cut to milliseconds."""
    seconds, micros = divmod(at, SECOND)
    return f"{_to_the_second(seconds)}.{micros // 1000:03d}Z"


@lru_cache(256)
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def printable(text: str) -> str:
    """Escape what a terminal would obey, or could not show."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
