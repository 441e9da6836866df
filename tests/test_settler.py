"""The settler's last line of defence: what our own code fails on while it settles, on every database (C8)."""

from collections.abc import Sequence
from typing import Any

import pytest

from relay.core.records import SECOND, Reply
from relay.deliver.flights import Flights
from relay.deliver.settler import Settler
from relay.store import delivery_settles
from relay.store.clock import Clock
from relay.store.delivery_payloads import Claimed
from relay.store.delivery_records import Done
from relay.store.engine import Store, Tx
from tests.support_dispatch import deliver_rules
from tests.support_flow import LEASE, World


class Replies:
    """A courier that brings what it was given."""

    def __init__(self) -> None:
        self.next: list[Reply] = []

    def replies(self, _patience: float) -> list[Reply]:
        brought, self.next = self.next, []
        return brought


class Bench:
    """A settler, and what it needs to be told that claimed deliveries were answered."""

    def __init__(self, store: Store) -> None:
        self.world = World(store)
        self.courier = Replies()
        self.flights = Flights(100)
        clock = Clock(store)
        self.world.now = clock.now()
        self.settler = Settler(store, clock, self.courier, self.flights, deliver_rules(clock))  # type: ignore[arg-type]

    def answer(self, taken: Sequence[Claimed], *, seconds_ago: float = 0.0) -> None:
        began = self.world.now - round(seconds_ago * SECOND)
        self.flights.begin((one.id, one.flight(began)) for one in taken)
        self.courier.next += [Reply(one.id, 200, None, None, b"ok", 1000) for one in taken]

    def turn(self, most: int = 100) -> int:
        """Turn until nothing is unsettled, at most so often; how many turns raised."""
        raised = 0
        for _ in range(most):
            try:
                self.settler.turn()
            except ZeroDivisionError:
                raised += 1
            if not self.settler.unsettled and not self.flights.count:
                break
        return raised

    def statuses(self, ids: Sequence[str]) -> set[str]:
        return {self.world.delivery(one).status for one in ids}


@pytest.fixture
def bench(own_store: Store) -> Bench:
    return Bench(own_store)


def break_settles_of(monkeypatch: pytest.MonkeyPatch, bad: Sequence[str]) -> None:
    """Have the settle raise what nobody expected, whenever one of these is in the batch."""
    settle = delivery_settles.settle

    def broken(tx: Tx, batch: Sequence[Done], **how: Any) -> Any:
        done = settle(tx, batch, **how)
        return 1 // 0 if any(one.flight.delivery_id in bad for one in batch) else done

    monkeypatch.setattr(delivery_settles, "settle", broken)


def test_C8_a_delivery_that_cannot_be_settled_is_let_go_and_the_others_flow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [one for n in range(20) for one in bench.world.owe(1, f"https://example.com/{n}")]
    taken = bench.world.claim().taken
    bad = taken[7].id
    break_settles_of(monkeypatch, [bad])
    bench.answer(taken)
    assert bench.turn() == 3  # the whole batch, then it alone, then again, when others had succeeded
    assert bench.statuses([one for one in ids if one != bad]) == {"delivered"}
    assert not bench.flights.settles_fail
    assert bench.settler.unsettled == 0
    assert bench.world.delivery(bad).status == "pending"  # until its lease has run out, and it counts as lost
    assert bench.world.attempts(bad) == []


def test_C8_a_delivery_that_cannot_be_settled_and_flies_alone_does_not_stop_claims(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bad,) = bench.world.owe()
    break_settles_of(monkeypatch, [bad])
    bench.answer(bench.world.claim().taken, seconds_ago=LEASE / SECOND - 5)
    assert bench.turn(10) > 1
    assert bench.settler.unsettled == 1
    assert not bench.flights.settles_fail
    (good,) = bench.world.owe(1, "https://example.com/other")
    bench.answer(bench.world.claim().taken)
    bench.turn()
    assert bench.settler.unsettled == 0
    assert bench.statuses([good]) == {"delivered"}


def test_C8_it_is_let_go_when_its_lease_has_run_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bad,) = bench.world.owe()
    break_settles_of(monkeypatch, [bad])
    bench.answer(bench.world.claim().taken, seconds_ago=LEASE / SECOND + 1)
    assert bench.turn() == 1
    assert bench.settler.unsettled == 0
    assert bench.world.delivery(bad).status == "pending"


def test_while_none_can_be_settled_nothing_is_claimed_and_none_is_let_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [one for n in range(5) for one in bench.world.owe(1, f"https://example.com/{n}")]
    with monkeypatch.context() as patch:
        break_settles_of(patch, ids)
        bench.answer(bench.world.claim().taken)
        bench.turn(20)
        assert (bench.flights.settles_fail, bench.settler.unsettled) == (True, 5)
    assert bench.turn() == 0
    assert (bench.flights.settles_fail, bench.settler.unsettled) == (False, 0)
    assert bench.statuses(ids) == {"delivered"}
