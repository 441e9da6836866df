"""When a failed webhook is sent again: as receivers ask, after an outage (R1 to R3, R5, R6)."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from relay.common.states import ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store
from relay.db.tables import Delivery
from relay.endpoints.rules.circuit_breaker import FIRST_CONCURRENCY_LIMIT, OPEN_AFTER
from relay.sandbox.receiver import Answer, Received, Receiver
from tests.support.dispatch import running_fleet
from tests.support.flow import World
from tests.support.processes import wait_until

HOOK = "https://example.com/hook"
OUTAGE = 3600  # seconds
LIMIT = 40


@pytest.fixture
def world(own_store: Store) -> World:
    return World(own_store)


def http_dates(at: datetime) -> list[str]:
    """One moment in the three forms of HTTP."""
    rfc_850, asctime = f"{at:%A, %d-%b-%y %H:%M:%S} GMT", f"{at:%a %b} {at.day:2d} {at:%H:%M:%S %Y}"
    return [format_datetime(at, usegmt=True), rfc_850, asctime]


# One second, two hours, and ten minutes asked for: which of them counts can not be mistaken.
DELAY, LONGEST, ASKED = 1, 7200, 600  # seconds
LATE = 20  # seconds, for a busy machine
ABSURD = ["99999999999999", "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"]
FULL_WIDTH = "\uff16\uff10\uff10".encode().decode("latin-1")
NONSENSE = [
    *("-5", "+600", "1_000", "1e3", "600.5", "inf", "nan", "", FULL_WIDTH, "Fri, 31 Dec 2100 23:59:59"),
    *("Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 32 Dec 2100 23:59:59 GMT"),
]


class Case(NamedTuple):
    """A failure with a Retry-After, and how many seconds later the next attempt is due."""

    status: int
    asks: str
    least: float
    most: float
    not_before: Micros = 0


def cases() -> list[Case]:
    date = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=ASKED)
    at = round(date.timestamp()) * US_PER_SECOND
    waits = [
        case
        for status in (429, 503, 500)
        for case in (
            Case(status, str(ASKED), ASKED, 1.2 * ASKED),
            *(Case(status, text, 0, 1.2 * ASKED, not_before=at) for text in http_dates(date)),
        )
    ]
    past = ["0", *http_dates(date - timedelta(days=1))]
    ignored = [Case(503, text, 0.8 * DELAY, 1.2 * DELAY) for text in NONSENSE + past]
    capped = [Case(503, text, LONGEST, 1.2 * LONGEST) for text in ABSURD]
    return [*waits, *ignored, *capped, Case(429, str(2 * DELAY), 2 * DELAY, 1.2 * 2 * DELAY)]


@pytest.mark.processes
def test_R1_R2_R3_webhooks_are_sent_again_when_their_receivers_ask_for_it_within_reason(
    own_database_url: str, tmp_path: Path
) -> None:
    asked = cases()
    soon = [case for case in asked if case.most < ASKED]  # these are seen to come again
    schedule = f"{DELAY},{LONGEST}"

    def answer(received: Received) -> Answer:
        case = asked[int(received.path[1:])]
        return Answer() if received.repeats else Answer(case.status, {"retry-after": case.asks})

    with (
        running_fleet(own_database_url, tmp_path, RELAY_RETRY_SCHEDULE=schedule) as fleet,
        Receiver(secret=fleet.secret, answer=answer) as receiver,
    ):
        ids = fleet.enqueue([f"{receiver.url}/{n}" for n in range(len(asked))])
        relay = fleet.dispatcher()
        receiver.wait_for(len(asked) + len(soon), 30)
        wait_until(lambda: fleet.errors()[None] == len(soon), 10, "all are recorded")
        assert relay.stop() == {"dispatcher": 0}
        for case, one in zip(asked, ids, strict=True):
            first, *again = fleet.world.attempts(one)
            due_at = again[0].started_at if case in soon else fleet.world.delivery(one).due_at
            assert first.status_code == case.status
            assert case.least <= (due_at - first.started_at) / US_PER_SECOND <= case.most + LATE, case
            assert due_at >= case.not_before, case


def fail_until_open(world: World) -> None:
    """Let the endpoint fail until its circuit opens."""
    while world.endpoint().opened_at is None:
        world.record(world.claim().taken, 503, ErrorClass.HTTP_5XX)
        world.later(7)


def ramp(world: World) -> list[int]:
    """How many are claimed at each round trip, all answered with 200, until nothing is due."""
    sizes = []
    while taken := world.claim().taken:
        sizes.append(len(taken))
        world.later(0.1)
        world.record(taken)
    return sizes


def test_R5_after_an_hours_outage_the_backlog_ramps_up(world: World) -> None:
    world.enqueue(120)
    world.set_endpoint(HOOK, max_in_flight=LIMIT)
    fail_until_open(world)
    world.later(OUTAGE)
    (probe,) = world.claim().taken
    assert world.claim().taken == []
    world.record([probe])
    sizes = ramp(world)
    assert sum(sizes) == 119
    assert sizes[0] == FIRST_CONCURRENCY_LIMIT
    assert all(after <= 2 * before for before, after in pairwise(sizes))
    assert LIMIT // 2 < max(sizes) <= LIMIT
    assert {row.status for row in world.rows(Delivery)} == {"delivered"}


@pytest.mark.processes
def test_R6_failures_are_counted_across_processes_that_come_and_go(
    own_database_url: str, tmp_path: Path
) -> None:
    with (
        running_fleet(own_database_url, tmp_path) as fleet,
        Receiver(answer=lambda _one: Answer(500)) as receiver,
    ):
        url = f"{receiver.url}/hook"
        fleet.enqueue([url] * 30)
        relay = fleet.dispatcher()
        wait_until(lambda: fleet.world.endpoint(url).failure_streak >= 2, 20, "it has failed twice")
        assert relay.stop() == {"dispatcher": 0}
        before = fleet.world.endpoint(url).failure_streak
        assert before < OPEN_AFTER
        fleet.dispatcher()
        wait_until(lambda: fleet.world.endpoint(url).opened_at, 20, "the circuit is open")
        wait_until(lambda: fleet.errors()["http_5xx"] == receiver.count, 10, "nothing is in flight")
        assert fleet.world.endpoint(url).failure_streak == receiver.count
        assert receiver.count <= OPEN_AFTER + 1
