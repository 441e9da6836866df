"""Deliveries with which processes died are sent by an isolated sender, on every database (C8)."""

import itertools
import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import update

from relay.common.time import US_PER_SECOND
from relay.db.engine import Store
from relay.db.leases import GIVE_UP_AFTER, POISON_AFTER
from relay.db.tables import Attempt, Delivery, Endpoint
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.sandbox.receiver import Answer, Received, Receiver
from tests.support.dispatch import Fleet, running_fleet, silent_listener
from tests.support.flow import World
from tests.support.processes import Relay, children, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(own_database_url, tmp_path) as fleet:
        yield fleet


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def make_poison(world: World, ids: Sequence[str]) -> None:
    lost = update(Delivery).where(Delivery.id.in_(ids)).values(lost_count=POISON_AFTER)
    world.store.write(lambda tx: tx.execute(lost))


def held_until(answered: Event, _received: Received) -> Answer:
    answered.wait(30)
    return Answer()


def test_C8_poison_messages_that_hang_go_one_at_a_time_and_keep_nobody_waiting(fleet: Fleet) -> None:
    with Receiver(secret=fleet.secret) as receiver, silent_listener() as silent:
        poison = fleet.enqueue([f"{silent}/{n}" for n in range(3)], started=False)
        make_poison(fleet.world, poison)
        relay = fleet.dispatcher()
        healthy = f"{receiver.url}/hook"
        fleet.enqueue([healthy])
        receiver.wait_for(1, 20)
        for n in range(3):
            fleet.change(f"{silent}/{n}", ready_at=fleet.clock.now())
        wait_until(
            lambda: len(children(relay.running["dispatcher"].pid)) == 2, 10, "a poison message is sent"
        )
        waited: list[float] = []
        while not fleet.world.rows(Attempt, Attempt.error == "timeout"):
            began = time.monotonic()
            fleet.enqueue([healthy])
            receiver.wait_for(len(waited) + 2, 10)
            waited.append(time.monotonic() - began)
        wait_until(lambda: len(fleet.world.rows(Attempt, Attempt.error == "timeout")) >= 3, 20, "all three")
        assert relay.stop() == {"dispatcher": 0}
    assert max(waited) < 1.5, waited  # the poison messages take 2 s each
    flown = sorted(
        (row.started_at, row.started_at + row.duration)
        for row in fleet.world.rows(Attempt, Attempt.error == "timeout", Attempt.number == 1)
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(flown))
    assert all(fleet.world.delivery(one).lost_count == 0 for one in poison)


def test_C8_a_poison_message_that_kills_its_sender_takes_nothing_with_it_and_is_given_up(
    fleet: Fleet,
) -> None:
    answered = Event()
    with Receiver(secret=fleet.secret, answer=partial(held_until, answered)) as slow:
        innocent, poison_message = fleet.enqueue(
            [f"{slow.url}/innocent", f"{slow.url}/poison"], started=False
        )
        make_poison(fleet.world, [poison_message])
        relay = fleet.dispatcher(RELAY_ATTEMPT_TIMEOUT="20", RELAY_LEASE_SECONDS="60")
        fleet.change(f"{slow.url}/innocent", ready_at=fleet.clock.now())
        slow.wait_for(1, 20)
        fleet.change(f"{slow.url}/poison", ready_at=fleet.clock.now())
        dispatcher = relay.running["dispatcher"].pid
        (sender,) = children(dispatcher)
        for round_ in range(GIVE_UP_AFTER - POISON_AFTER):
            slow.wait_for(round_ + 2, 20)
            (apart,) = set(children(dispatcher)) - {sender}
            os.kill(apart, signal.SIGKILL)
            wait_until(partial(has_said, relay, "suspect_lost", round_ + 1), 10, "the dispatcher sees it")
            end_lease(fleet, poison_message)
        wait_until(lambda: fleet.world.delivery(poison_message).status == "failed", 20, "it is given up")
        answered.set()
        wait_until(lambda: fleet.world.delivery(innocent).status == "delivered", 20, "the other is recorded")
        assert relay.stop() == {"dispatcher": 0}
    assert fleet.attempts(innocent) == [None]
    assert set(fleet.attempts(poison_message)) == {"lost"}
    assert fleet.world.delivery(poison_message).last_error.startswith("given up")
    given_up = [line for line in relay.logs("dispatcher") if line["event"] == "delivery_given_up"]
    assert [(line["delivery_id"], line["outcome"]) for line in given_up] == [(poison_message, "failed")]


def has_said(relay: Relay, event: str, times: int) -> bool:
    return [line["event"] for line in relay.logs("dispatcher")].count(event) >= times


def end_lease(fleet: Fleet, delivery_id: str) -> None:
    now = fleet.clock.now()
    row = fleet.world.delivery(delivery_id)
    fleet.store.write(
        lambda tx: tx.execute(
            update(Delivery).where(Delivery.id == row.id).values(due_at=now - US_PER_SECOND)
        )
    )
    (endpoint,) = fleet.world.rows(Endpoint, Endpoint.id == row.endpoint_id)
    fleet.change(endpoint.url, ready_at=now)


def test_a_poison_message_in_flight_at_sigterm_is_finished_and_recorded(fleet: Fleet) -> None:
    answered = Event()
    with Receiver(secret=fleet.secret, answer=partial(held_until, answered)) as receiver:
        (poison_message,) = fleet.enqueue([f"{receiver.url}/hook"], started=False)
        make_poison(fleet.world, [poison_message])
        fleet.change(f"{receiver.url}/hook", ready_at=fleet.clock.now())
        relay = fleet.dispatcher(RELAY_ATTEMPT_TIMEOUT="20", RELAY_LEASE_SECONDS="60")
        receiver.wait_for(1, 20)
        process = relay.running.pop("dispatcher")
        process.send_signal(signal.SIGTERM)
        wait_until(partial(has_said, relay, "process_stopping", 1), 10, "it has heard")
        answered.set()
        assert process.wait(20) == 0
    assert fleet.attempts(poison_message) == [None]


def test_while_a_poison_message_is_in_flight_a_claim_takes_what_lies_behind_others(world: World) -> None:
    poison = world.enqueue(12)
    make_poison(world, poison)
    world.later(1)
    good = world.enqueue(3)
    world.set_endpoint("https://example.com/hook", warmed_up=1, concurrency_limit=10)
    without = ClaimCapacity(slots=10, cold_slots=10, payload_bytes=1 << 20, poison=False)
    assert sorted(one.id for one in world.claim(without).taken) == good
    (one,) = world.claim(ClaimCapacity(slots=10, cold_slots=10, payload_bytes=1 << 20)).taken
    assert one.id in poison
