"""The books of a dispatcher's slots."""

from hypothesis import given
from hypothesis import strategies as st

from relay.deliveries.rules.attempts import InFlightAttempt
from relay.deliveries.rules.capacity import (
    MEMORY,
    REMEMBERED,
    RESPONSIVE_FOR,
    SILENT_QUOTA,
    Capacity,
    CapacityTracker,
)


def attempt(
    endpoint: str = "ep_1", subscriber: str = "sub_1", *, cold: bool = False, size: int = 10
) -> InFlightAttempt:
    return InFlightAttempt("msg_1", "token", 1, endpoint, subscriber, cold, size, 0)


def test_what_is_taken_and_freed_leaves_the_books_as_they_were() -> None:
    slots = CapacityTracker(10)
    registry = [attempt("ep_1"), attempt("ep_2", cold=True), attempt("ep_1", "sub_2", size=500)]
    for one in registry:
        slots.take(one)
    assert slots.left == Capacity(7, MEMORY - 520)
    assert slots.left_for_cold == Capacity(4, MEMORY // 2 - 10)
    assert slots.held == {"sub_1": 2, "sub_2": 1}
    for one in registry:
        slots.free(one, answered_at=None)
    assert slots.left == Capacity(10, MEMORY)
    assert slots.left_for_cold == Capacity(5, MEMORY // 2)
    assert +slots.held == {}


def test_silent_endpoints_never_hold_every_slot() -> None:
    slots = CapacityTracker(80)
    for number in range(80):
        slots.take(attempt(f"ep_{number}"))
    assert slots.left_for_silent(now=100.0).slots == 80 * SILENT_QUOTA - 80
    assert slots.left_for_silent(now=100.0).is_exhausted


def test_silent_endpoints_never_hold_all_memory_however_large_their_bodies() -> None:
    slots = CapacityTracker(1000)
    for number in range(7):
        slots.take(attempt(f"ep_{number}", size=MEMORY // 8))
    assert not slots.left.is_exhausted
    assert slots.left_for_silent(now=100.0) == Capacity(875 - 7, 0)
    assert slots.left_for_silent(now=100.0).is_exhausted


def test_an_endpoint_that_answered_lately_is_not_silent() -> None:
    slots = CapacityTracker(80)
    slots.take(attempt("ep_1"))
    slots.free(attempt("ep_1"), answered_at=100.0)
    slots.take(attempt("ep_1"))
    slots.take(attempt("ep_2"))
    assert slots.left_for_silent(now=101.0).slots == 70 - 1
    assert slots.responsive(now=101.0) == ["ep_1"]
    assert slots.left_for_silent(now=101.0 + RESPONSIVE_FOR).slots == 70 - 2
    assert slots.responsive(now=101.0 + RESPONSIVE_FOR) == []


def test_no_answer_at_all_is_no_sign_of_life() -> None:
    slots = CapacityTracker(80)
    slots.take(attempt("ep_1"))
    slots.free(attempt("ep_1"), answered_at=None)
    assert slots.responsive(now=1.0) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 1 << 20)), max_size=40))
def test_the_books_always_balance(shapes: list[tuple[int, bool, int]]) -> None:
    slots = CapacityTracker(1000)
    registry = [attempt(f"ep_{n}", f"sub_{n % 2}", cold=cold, size=size) for n, cold, size in shapes]
    for one in registry:
        slots.take(one)
    size = sum(one.payload_bytes for one in registry)
    cold = [one.payload_bytes for one in registry if one.cold]
    assert slots.left == Capacity(1000 - len(registry), MEMORY - size)
    assert slots.left_for_cold == Capacity(500 - len(cold), MEMORY // 2 - sum(cold))
    assert slots.left_for_silent(100.0) == Capacity(875 - len(registry), MEMORY * 7 // 8 - size)
    assert sum(slots.held.values()) == len(registry)
    for one in reversed(registry):
        slots.free(one, answered_at=None)
    assert (slots.left, slots.left_for_silent(1.0)) == (
        Capacity(1000, MEMORY),
        Capacity(875, MEMORY * 7 // 8),
    )


def test_endpoints_that_answered_long_ago_are_forgotten() -> None:
    slots = CapacityTracker(10)
    for number in range(3 * REMEMBERED):
        one = attempt(f"ep_{number}")
        slots.take(one)
        slots.free(one, answered_at=float(number))
    assert len(slots._answered_at) < 2 * REMEMBERED
