"""Real dispatchers on every database: side by side, stopped, beside a deletion (C3, C7, C9)."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.db.tables import Delivery
from relay.sandbox.receiver import Answer, Received, Receiver
from tests.support.chaos import Chaos, Connection
from tests.support.dispatch import Fleet, running_fleet
from tests.support.processes import Relay, wait_until
from tests.support.sender_client import OK

pytestmark = pytest.mark.processes

SETTINGS = {  # nothing that a test holds back runs out of time, and no retry comes while it does
    "RELAY_ATTEMPT_TIMEOUT": "40",
    "RELAY_LEASE_SECONDS": "60",
    "RELAY_RETRY_SCHEDULE": "40,40",
    "RELAY_MAX_IN_FLIGHT": "200",  # of which endpoints that are new may have half
}


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(own_database_url, tmp_path, **SETTINGS) as fleet:
        yield fleet


def sent_by(relay: Relay) -> int:
    return sum(line["event"] == "attempt_ended" for line in relay.logs("dispatcher"))


def says(relay: Relay, event: str) -> bool:
    return any(line["event"] == event for line in relay.logs("dispatcher"))


def test_C3_four_dispatchers_send_ten_thousand_rows_once_each(fleet: Fleet) -> None:
    came: list[bytes] = []

    def script(connection: Connection) -> None:
        while (request := connection.read_request()) is not None:
            came.extend(re.findall(rb"(?m)^webhook-id: (\S+)", request))
            connection.send(OK)

    with Chaos(script) as receiver:
        for _ in range(4):
            fleet.dispatcher()
        fleet.enqueue_backlog([f"http://127.0.0.1:{receiver.port}/{n}" for n in range(40)], 250)
        wait_until(lambda: all(relay.logs("dispatcher") for relay in fleet.relays), 30, "they all run")
        fleet.start(warmed_up=1, concurrency_limit=10)
        assert fleet.wait_until_ended(60) == {"delivered": 10_000}
        assert [relay.stop() for relay in fleet.relays] == [{"dispatcher": 0}] * 4
    assert len(came) == len(set(came)) == 10_000
    assert fleet.errors() == {None: 10_000}
    shares = [sent_by(relay) for relay in fleet.relays]
    assert sum(shares) == 10_000
    assert min(shares) > 0


def test_C7_sigterm_with_a_hundred_in_flight_records_each_and_sends_no_backlog(fleet: Fleet) -> None:
    """While it is stopped there is more to do, and a hundred answers are held until then."""
    go = threading.Event()

    def answer(_received: Received) -> Answer:
        go.wait(30)
        return Answer()

    with Receiver(secret=fleet.secret, answer=answer) as receiver:
        fleet.enqueue([f"{receiver.url}/{n % 300}" for n in range(600)])
        relay = fleet.dispatcher()
        in_flight = {one.id for one in receiver.wait_for(100, 30)}
        process = relay.running["dispatcher"]
        process.terminate()
        wait_until(lambda: says(relay, "process_stopping"), 10, "it has seen the signal")
        assert fleet.statuses() == {"pending": 600}
        go.set()
        assert process.wait(30) == 0
        relay.running.clear()
    came = Counter(one.id for one in receiver.received)
    rows = fleet.world.rows(Delivery)
    assert len(in_flight) == 100
    assert set(came.values()) == {1}
    assert in_flight <= {row.id for row in rows if row.status == "delivered"} == set(came)
    assert len(came) <= 300  # the claim that was under way may have taken what it had slots for
    assert {(row.token, row.attempt_count) for row in rows if row.status == "pending"} == {(None, 0)}
    assert fleet.errors() == {None: len(came)}
    (stopped,) = (line for line in relay.logs("dispatcher") if line["event"] == "process_stopped")
    assert stopped["abandoned"] == 0


def test_C9_what_flies_to_a_deleted_endpoint_ends_and_its_queue_is_never_sent(fleet: Fleet) -> None:
    """A retry that waits, one in flight, and one that waits for the concurrency limit."""
    go = threading.Event()
    failed_before: set[str] = set()

    def answer(received: Received) -> Answer:
        if received.id in failed_before:
            return Answer(500)
        go.wait(30)
        return Answer(500 if received.path == "/fails" else 200)

    with Receiver(secret=fleet.secret, answer=answer) as receiver:
        urls = [f"{receiver.url}/{name}" for name in ("fails", "works")]
        retries = fleet.enqueue(urls, started=False)
        failed_before.update(retries)
        fleet.start()
        relay = fleet.relay()
        relay.start("web", "dispatcher")
        wait_until(lambda: fleet.errors()["http_5xx"] == 2, 20, "a retry is queued at each")
        in_flight = fleet.enqueue(urls)
        receiver.wait_for(4, 20)
        queued = fleet.enqueue(urls)
        for url in urls:
            assert relay.call("DELETE", f"/v1/endpoints/{fleet.world.endpoint(url).id}").status_code == 204
        shown = {one["id"]: one["status"] for one in relay.all("/v1/deliveries")}
        waiting = dict.fromkeys([*retries, *queued], "cancelled")
        assert shown == waiting | dict.fromkeys(in_flight, "pending")
        go.set()
        (later,) = fleet.enqueue([f"{receiver.url}/another"])
        fleet.wait_until_ended()
        assert relay.stop() == {"web": 0, "dispatcher": 0}
    ended = {row.id: row.status for row in fleet.world.rows(Delivery)}
    assert ended == waiting | dict(zip(in_flight, ["cancelled", "delivered"], strict=True)) | {
        later: "delivered"
    }
    assert Counter(one.id for one in receiver.received) == dict.fromkeys([*retries, *in_flight, later], 1)
    assert [fleet.attempts(one) for one in in_flight] == [["http_5xx"], [None]]
