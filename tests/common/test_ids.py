"""Ids sort by time and are UUIDv7."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.ids import RANDOM_BYTES, first_id, make_id
from relay.common.time import Micros

MOMENTS = st.integers(0, (1 << 48) * 1000 - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)
ONES = b"\xff" * RANDOM_BYTES


@given(now=MOMENTS, random=RANDOM)
def test_an_id_is_its_prefix_and_a_uuid_of_version_7(now: Micros, random: bytes) -> None:
    prefix, _, digits = make_id("msg", now, random).partition("_")
    value = uuid.UUID(digits)
    assert (prefix, value.hex) == ("msg", digits)
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == now // 1000


@given(first=MOMENTS, later=st.integers(1, 10**15), random=RANDOM, other=RANDOM)
def test_ids_sort_by_time_to_the_microsecond(first: Micros, later: int, random: bytes, other: bytes) -> None:
    second = min(first + later, (1 << 48) * 1000 - 1)
    if second > first:
        assert make_id("wat", first, random) < make_id("wat", second, other)


@given(time_us=MOMENTS, random=RANDOM)
def test_the_first_id_of_a_moment_bounds_all_that_are_made_then_and_later(
    time_us: Micros, random: bytes
) -> None:
    assert first_id("msg", time_us) <= make_id("msg", time_us, random)
    if time_us:
        assert make_id("msg", time_us - 1, ONES) < first_id("msg", time_us)


def test_the_random_part_is_62_bits() -> None:
    lowest, highest = (uuid.UUID(make_id("a", 0, bytes_)[2:]).int for bytes_ in (bytes(8), ONES))
    assert highest - lowest == (1 << 62) - 1


@pytest.mark.parametrize(("micros", "digits"), [(0, "000"), (500, "800"), (999, "ffb")])
def test_the_fraction_of_the_millisecond_comes_after_the_version(micros: int, digits: str) -> None:
    # RFC 9562, section 6.2, method 3: the twelve bits hold the fraction in 4096ths.
    assert make_id("a", 1_645_557_742_000_000 + micros, bytes(8))[2:18] == f"017f22e279b07{digits}"
