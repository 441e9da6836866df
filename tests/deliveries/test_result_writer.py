"""The result writer, when our own code fails on what it records, on every database (C8)."""

from collections.abc import Sequence
from typing import Any

import pytest

from relay.common.time import US_PER_SECOND
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.deliveries.in_flight import InFlightRegistry
from relay.deliveries.result_writer import ResultWriter
from relay.deliveries.rules.attempts import AttemptResult
from relay.deliveries.sql import delivery_results
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery
from relay.sending.rules.outbound import Reply
from tests.support.dispatch import delivery_config
from tests.support.flow import LEASE, World


class Replies:
    """A sender that brings the replies that it was given."""

    def __init__(self) -> None:
        self.next: list[Reply] = []

    def replies(self, _retry_timeout: float) -> list[Reply]:
        brought, self.next = self.next, []
        return brought


class Bench:
    """A result writer, and replies to claimed deliveries."""

    def __init__(self, store: Store) -> None:
        self.world = World(store)
        self.sender_client = Replies()
        self.registry = InFlightRegistry(100)
        clock = Clock(store)
        self.world.now = clock.now()
        self.result_writer = ResultWriter(
            store,
            clock,
            self.sender_client,  # type: ignore[arg-type]
            self.registry,
            delivery_config(clock),
        )

    def answer(self, taken: Sequence[ClaimedDelivery], *, seconds_ago: float = 0.0) -> None:
        began = self.world.now - round(seconds_ago * US_PER_SECOND)
        self.registry.add((one.id, one.attempt(began)) for one in taken)
        self.sender_client.next += [Reply(one.id, 200, None, None, b"ok", 1000) for one in taken]

    def run_once(self, most: int = 100) -> int:
        """Run until everything is recorded, at most so often; how many iterations raised."""
        raised = 0
        for _ in range(most):
            try:
                self.result_writer.run_once()
            except ZeroDivisionError:
                raised += 1
            if not self.result_writer.unrecorded and not self.registry.count:
                break
        return raised

    def statuses(self, ids: Sequence[str]) -> set[str]:
        return {self.world.delivery(one).status for one in ids}


@pytest.fixture
def bench(own_store: Store) -> Bench:
    return Bench(own_store)


def break_results_of(monkeypatch: pytest.MonkeyPatch, bad: Sequence[str]) -> None:
    """Have the recording raise an unexpected error whenever one of these is in the batch."""
    record = delivery_results.record

    def broken(tx: Tx, batch: Sequence[AttemptResult], **how: Any) -> Any:
        done = record(tx, batch, **how)
        return 1 // 0 if any(one.attempt.delivery_id in bad for one in batch) else done

    monkeypatch.setattr(delivery_results, "record", broken)


def test_C8_a_delivery_that_cannot_be_recorded_is_let_go_and_the_others_flow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [one for n in range(20) for one in bench.world.enqueue(1, f"https://example.com/{n}")]
    taken = bench.world.claim().taken
    bad = taken[7].id
    break_results_of(monkeypatch, [bad])
    bench.answer(taken)
    assert bench.run_once() == 3  # the whole batch, then it alone, then again, when others had succeeded
    assert bench.statuses([one for one in ids if one != bad]) == {"delivered"}
    assert not bench.registry.results_fail
    assert bench.result_writer.unrecorded == 0
    assert bench.world.delivery(bad).status == "pending"  # until its lease has run out, and it counts as lost
    assert bench.world.attempts(bad) == []


def test_C8_a_delivery_that_cannot_be_recorded_and_is_alone_does_not_stop_claims(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bad,) = bench.world.enqueue()
    break_results_of(monkeypatch, [bad])
    bench.answer(bench.world.claim().taken, seconds_ago=LEASE / US_PER_SECOND - 5)
    assert bench.run_once(10) > 1
    assert bench.result_writer.unrecorded == 1
    assert not bench.registry.results_fail
    (good,) = bench.world.enqueue(1, "https://example.com/other")
    bench.answer(bench.world.claim().taken)
    bench.run_once()
    assert bench.result_writer.unrecorded == 0
    assert bench.statuses([good]) == {"delivered"}


def test_C8_it_is_let_go_when_its_lease_has_run_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bad,) = bench.world.enqueue()
    break_results_of(monkeypatch, [bad])
    bench.answer(bench.world.claim().taken, seconds_ago=LEASE / US_PER_SECOND + 1)
    assert bench.run_once() == 1
    assert bench.result_writer.unrecorded == 0
    assert bench.world.delivery(bad).status == "pending"


def test_while_none_can_be_recorded_nothing_is_claimed_and_none_is_let_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [one for n in range(5) for one in bench.world.enqueue(1, f"https://example.com/{n}")]
    with monkeypatch.context() as patch:
        break_results_of(patch, ids)
        bench.answer(bench.world.claim().taken)
        bench.run_once(20)
        assert (bench.registry.results_fail, bench.result_writer.unrecorded) == (True, 5)
    assert bench.run_once() == 0
    assert (bench.registry.results_fail, bench.result_writer.unrecorded) == (False, 0)
    assert bench.statuses(ids) == {"delivered"}
