"""Times and foreign text as lines, bodies and terminals show them."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from relay.common.texts import printable
from relay.common.time import US_PER_SECOND, rfc3339


@given(time_us=st.integers(10**15, 4 * 10**15))
def test_a_timestamp_is_the_moment_cut_to_milliseconds(time_us: int) -> None:
    read = datetime.fromisoformat(rfc3339(time_us))
    assert round(read.timestamp() * 1000) * 1000 == time_us // 1000 * 1000


@given(st.integers(0, 253_402_300_799_999_999))
def test_every_timestamp_is_of_one_length(time_us: int) -> None:
    assert len(rfc3339(time_us)) == len("2026-01-02T03:04:05.678Z")


def test_some_milliseconds_are_written_with_their_zeros() -> None:
    assert rfc3339(5 * US_PER_SECOND + 7000) == "1970-01-01T00:00:05.007Z"


def test_K2_printable_text_stays_and_what_a_terminal_obeys_is_escaped() -> None:
    assert printable("Größe 测试 ✓") == "Größe 测试 ✓"
    assert printable("a\x1b[2J\r\n\u202e") == "a\\x1b[2J\\r\\n\\u202e"
