"""The books of a dispatcher's slots."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core.slots import LIVELY, MEMORY, SILENT_SHARE, Flight, Slots


def flight(
    endpoint: str = "ep_1", subscriber: str = "sub_1", *, unproven: bool = False, size: int = 10
) -> Flight:
    return Flight("msg_1", "token", 1, endpoint, subscriber, unproven, size, 0)


def test_what_is_taken_and_freed_leaves_the_books_as_they_were() -> None:
    slots = Slots(10)
    flights = [flight("ep_1"), flight("ep_2", unproven=True), flight("ep_1", "sub_2", size=500)]
    for one in flights:
        slots.take(one)
    assert (slots.left, slots.left_for_unproven, slots.bytes_left) == (7, 4, MEMORY - 520)
    assert slots.held == {"sub_1": 2, "sub_2": 1}
    for one in flights:
        slots.free(one, answered_at=None)
    assert (slots.left, slots.left_for_unproven, slots.bytes_left) == (10, 5, MEMORY)
    assert +slots.held == {}


def test_silent_endpoints_never_hold_every_slot() -> None:
    slots = Slots(80)
    for number in range(80):
        slots.take(flight(f"ep_{number}"))
    assert slots.left_for_silent(now=100.0) == 80 * SILENT_SHARE - 80


def test_an_endpoint_that_answered_lately_is_not_silent() -> None:
    slots = Slots(80)
    slots.take(flight("ep_1"))
    slots.free(flight("ep_1"), answered_at=100.0)
    slots.take(flight("ep_1"))
    slots.take(flight("ep_2"))
    assert slots.left_for_silent(now=101.0) == 70 - 1
    assert slots.lively(now=101.0) == ["ep_1"]
    assert slots.left_for_silent(now=101.0 + LIVELY) == 70 - 2
    assert slots.lively(now=101.0 + LIVELY) == []


def test_no_answer_at_all_is_no_sign_of_life() -> None:
    slots = Slots(80)
    slots.take(flight("ep_1"))
    slots.free(flight("ep_1"), answered_at=None)
    assert slots.lively(now=1.0) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 1 << 20)), max_size=40))
def test_the_books_always_balance(shapes: list[tuple[int, bool, int]]) -> None:
    slots = Slots(1000)
    flights = [
        flight(f"ep_{n}", f"sub_{n % 2}", unproven=unproven, size=size) for n, unproven, size in shapes
    ]
    for one in flights:
        slots.take(one)
    assert slots.left == 1000 - len(flights)
    assert slots.bytes_left == MEMORY - sum(one.payload_bytes for one in flights)
    assert slots.left_for_unproven == 500 - sum(one.unproven for one in flights)
    assert sum(slots.held.values()) == len(flights)
    for one in reversed(flights):
        slots.free(one, answered_at=None)
    assert (slots.left, slots.left_for_silent(0.0), slots.bytes_left) == (1000, 875, MEMORY)
