"""Ids: a prefix that names the kind, and a UUIDv7 (RFC 9562), so that ids sort by time."""

from collections.abc import Callable

from relay.common.time import Micros

NewId = Callable[[str], str]  # makes a new id with this prefix
NewIds = Callable[[str, int], list[str]]  # makes so many at once
RANDOM_BYTES = 8


def make_id(prefix: str, now: Micros, random: bytes) -> str:
    """`prefix_` and 32 hex digits: 48 bits of milliseconds, 12 of their fraction, 62 random ones.

    The fraction stands after the version (RFC 9562, section 6.2, method 3), so that ids of one
    millisecond by one process still sort by time. `random` is 8 bytes.
    """
    milliseconds, micros = divmod(now, 1000)
    fraction = micros * 4096 // 1000
    low = int.from_bytes(random, "big") & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | low
    return f"{prefix}_{value:032x}"


def make_ids(prefix: str, now: Micros, random: bytes) -> list[str]:
    """As many new ids as there are 8 random bytes for."""
    starts = range(0, len(random), RANDOM_BYTES)
    return [make_id(prefix, now, random[start : start + RANDOM_BYTES]) for start in starts]


def first_id(prefix: str, time_us: Micros) -> str:
    """The smallest id of this microsecond: a bound for ranges of ids by time."""
    return make_id(prefix, time_us, bytes(RANDOM_BYTES))
