"""Processes that die, freeze, fail on a row or have a wrong clock, everywhere (A1, C1 to C10)."""

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from relay.db.engine import Tx
from relay.db.statements import lock
from relay.db.tables import Endpoint, Job, SigningSecret
from relay.sandbox.receiver import Answer, Received, Receiver
from tests.support.chaos import Chaos, Connection
from tests.support.dispatch import NOWHERE, Fleet, running_fleet
from tests.support.forks import ROOT
from tests.support.processes import Relay, children, wait_until
from tests.support.sender_client import OK

pytestmark = pytest.mark.processes


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(own_database_url, tmp_path) as fleet:
        yield fleet


class AuthCheck:
    """Answers a delivery's first POST once it is opened, with 500; later ones at once, with 200."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.open = self._opened.set

    def answer(self, received: Received) -> Answer:
        if received.repeats:
            return Answer()
        self._opened.wait(30)
        return Answer(500)


def test_A1_a_watch_is_there_after_kill_9_right_after_its_201(fleet: Fleet) -> None:
    relay = fleet.relay()
    relay.start("web")
    body = {"job_id": "j1", "callback_url": "http://127.0.0.1:1/hook", "metadata": {"n": 1}}
    made = relay.call("POST", "/v1/watches", body)
    relay.kill("web")
    assert made.status_code == 201
    relay.start("web")
    found = relay.call("GET", f"/v1/watches/{made.json()['id']}")
    assert found.status_code == 200
    assert found.json().items() >= made.json().items()


def test_C1_what_was_in_mid_post_is_sent_again_after_the_lease(fleet: Fleet) -> None:
    gate = AuthCheck()
    with Receiver(secret=fleet.secret, answer=gate.answer) as receiver:
        (one,) = fleet.enqueue([f"{receiver.url}/hook"])
        relay = fleet.dispatcher()
        receiver.wait_for(1, 20)
        relay.kill("dispatcher")
        assert fleet.attempts(one) == []
        fleet.end_leases()
        relay.start("dispatcher")
        received = receiver.wait_for(2, 20)
        fleet.wait_until_ended()
        gate.open()
    assert [(each.id, each.problem) for each in received] == [(one, None)] * 2
    assert fleet.attempts(one) == ["lost", None]


def test_C2_killed_after_the_2xx_and_before_the_commit_there_is_exactly_one_more(fleet: Fleet) -> None:
    came, go, answered = threading.Event(), threading.Event(), threading.Event()
    ids: list[bytes] = []

    def script(connection: Connection) -> None:
        while (request := connection.read_request()) is not None:
            ids.extend(re.findall(rb"(?m)^webhook-id: (\S+)", request))
            came.set()
            go.wait(30)
            connection.send(OK)
            answered.set()

    with Chaos(script) as receiver:
        (one,) = fleet.enqueue([f"http://127.0.0.1:{receiver.port}/hook"])
        relay = fleet.dispatcher()
        assert came.wait(20)
        with fleet.store.engine.connect() as locker:
            locker.execute(lock(select(Endpoint.id)))  # now no result can be recorded
            go.set()
            assert answered.wait(10)
            relay.kill("dispatcher")
        fleet.end_leases()
        relay.start("dispatcher")
        fleet.wait_until_ended()
        assert relay.stop() == {"dispatcher": 0}
    assert ids == [one.encode()] * 2
    assert fleet.attempts(one) == ["lost", None]


def test_what_a_dispatcher_sends_ends_with_it_even_if_it_alone_is_killed(fleet: Fleet) -> None:
    gate = AuthCheck()
    with Receiver(secret=fleet.secret, answer=gate.answer) as receiver:
        (one,) = fleet.enqueue([f"{receiver.url}/hook"])
        relay = fleet.dispatcher()
        receiver.wait_for(1, 20)
        process = relay.running.pop("dispatcher")
        (sender,) = children(process.pid)
        process.kill()
        process.wait(10)
        wait_until(lambda: not Path(f"/proc/{sender}").exists(), 10, "the sender has ended too")
        fleet.end_leases()
        relay.start("dispatcher")
        receiver.wait_for(2, 20)
        fleet.wait_until_ended()
        gate.open()
    assert fleet.attempts(one) == ["lost", None]


def test_a_dispatcher_whose_sender_dies_says_so_and_ends_and_nothing_is_lost(fleet: Fleet) -> None:
    gate = AuthCheck()
    with Receiver(secret=fleet.secret, answer=gate.answer) as slow, Receiver(secret=fleet.secret) as quick:
        (hung,) = fleet.enqueue([f"{slow.url}/hook"])
        (good,) = fleet.enqueue([f"{quick.url}/hook"])
        relay = fleet.dispatcher()
        slow.wait_for(1, 20)
        wait_until(lambda: fleet.attempts(good), 20, "the quick one is recorded")
        process = relay.running.pop("dispatcher")
        (sender,) = children(process.pid)
        os.kill(sender, signal.SIGKILL)
        assert process.wait(20) == 1
        said = (relay.folder / "dispatcher.log").read_text()
        assert "the process that sends webhooks ended (exit code -9)" in said
        assert "Traceback" not in said
        fleet.end_leases()
        relay.start("dispatcher")
        fleet.wait_until_ended()
        gate.open()
    assert fleet.attempts(good) == [None]
    assert fleet.attempts(hung) == ["lost", None]


def test_an_endpoint_that_somebody_has_locked_holds_up_no_other_and_is_not_sent_to_twice(
    fleet: Fleet,
) -> None:
    if fleet.store.dialect.name == "sqlite":
        pytest.skip("SQLite locks no single row")
    arrived, gate = threading.Barrier(3), threading.Event()
    posts: Counter[str] = Counter()

    def script(connection: Connection) -> None:
        while (request := connection.read_request()) is not None:
            posts[re.findall(rb"(?m)^webhook-id: (\S+)", request)[0].decode()] += 1
            arrived.wait(20)
            gate.wait(30)
            connection.send(OK)

    with Chaos(script) as one, Chaos(script) as other:
        urls = [f"http://127.0.0.1:{receiver.port}/hook" for receiver in (one, other)]
        (locked, free) = fleet.enqueue(urls)
        relay = fleet.dispatcher()
        arrived.wait(20)
        with fleet.store.engine.begin() as locker:
            locker.execute(lock(select(Endpoint.id).where(Endpoint.url == urls[0])))
            gate.set()
            wait_until(lambda: fleet.attempts(free), 30, "the other one is recorded")
            assert fleet.attempts(locked) == []
        fleet.wait_until_ended()
        assert relay.stop() == {"dispatcher": 0}
    assert posts == {locked: 1, free: 1}
    assert [fleet.attempts(each) for each in (locked, free)] == [[None], [None]]


def test_what_was_claimed_before_sigterm_is_sent_however_large_it_is(fleet: Fleet) -> None:
    data = "x" * 200_000
    with Receiver(secret=fleet.secret) as receiver:
        ids = fleet.enqueue([f"{receiver.url}/hook{n}" for n in range(40)], started=False)
        fleet.store.write(lambda tx: tx.execute(update(Job).values(data=data, data_bytes=len(data))))
        relay = fleet.dispatcher()
        fleet.store.write(lambda tx: tx.execute(update(Endpoint).values(ready_at=fleet.clock.now())))
        receiver.wait_for(1, 20)
        assert relay.stop() == {"dispatcher": 0}
        stopped = next(line for line in relay.logs("dispatcher") if line["event"] == "process_stopped")
        assert stopped["abandoned"] == 0
        relay.start("dispatcher")
        fleet.wait_until_ended()
    assert {tuple(fleet.attempts(one)) for one in ids} == {(None,)}


@pytest.mark.parametrize("name", ["web", "poller", "dispatcher"])
def test_C4_no_process_starts_with_a_lease_shorter_than_its_work(name: str, tmp_path: Path) -> None:
    settings = {"RELAY_ATTEMPT_TIMEOUT": "10", "RELAY_LEASE_SECONDS": "24"}
    relay = Relay(f"sqlite:///{tmp_path}/none.db", NOWHERE, tmp_path, settings)
    assert relay.launch(name).wait(60) != 0
    said = (tmp_path / f"{name}.log").read_text()
    assert "RELAY_LEASE_SECONDS must be at least RELAY_ATTEMPT_TIMEOUT + 15" in said
    assert "Traceback" not in said
    assert not (tmp_path / "none.db").exists()


def test_C5_a_process_frozen_past_its_lease_changes_nothing_when_it_goes_on(fleet: Fleet) -> None:
    gate = AuthCheck()
    with Receiver(secret=fleet.secret, answer=gate.answer) as receiver:
        (one,) = fleet.enqueue([f"{receiver.url}/hook"])
        frozen = fleet.dispatcher()
        receiver.wait_for(1, 20)
        frozen.running["dispatcher"].send_signal(signal.SIGSTOP)
        fleet.end_leases()
        fleet.dispatcher()
        fleet.wait_until_ended()
        recorded = fleet.world.delivery(one)
        gate.open()
        frozen.running["dispatcher"].send_signal(signal.SIGCONT)
        assert frozen.stop() == {"dispatcher": 0}
    assert fleet.world.delivery(one) == recorded
    assert recorded.status == "delivered"
    assert fleet.attempts(one) == ["lost", None]


# C8: rows on which our own code raises.


def bad_headers(tx: Tx, endpoint_id: str) -> None:
    tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(headers_sealed="nonsense"))


def bad_secret(tx: Tx, endpoint_id: str) -> None:
    owner = tx.execute(select(SigningSecret)).mappings().one()
    broken = {"id": "sec_broken", "endpoint_id": endpoint_id, "sealed": "00000000:bm9uc2Vuc2U="}
    tx.execute(insert(SigningSecret), {**owner, **broken})


def bad_url(tx: Tx, endpoint_id: str) -> None:
    tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(url="no url at all"))


@pytest.mark.parametrize("damage", [bad_headers, bad_secret, bad_url])
def test_C8_a_row_that_our_code_fails_on_is_set_aside_and_the_others_flow(fleet: Fleet, damage: Any) -> None:
    with Receiver(secret=fleet.secret) as receiver:
        urls = [f"{receiver.url}/{n}" for n in range(10)]
        ids = fleet.enqueue(urls)
        endpoint = fleet.world.endpoint(urls[3])
        fleet.store.write(damage, endpoint.id)
        relay = fleet.dispatcher()
        fleet.wait_until_ended()
        assert relay.stop() == {"dispatcher": 0}
    statuses = {one: fleet.world.delivery(one).status for one in ids}
    assert statuses == dict.fromkeys(ids, "delivered") | {ids[3]: "failed"}
    assert {each.id: each.problem for each in receiver.received} == dict.fromkeys(set(ids) - {ids[3]})
    assert len(fleet.attempts(ids[3])) == 4
    assert all(fleet.attempts(one) == [None] for one in ids if one != ids[3])


# C10: machines whose clocks are wrong.

SKEWED = """
import os, time
ahead = float(os.environ["RELAY_SERVICE_SKEW"])
real_time, real_time_ns = time.time, time.time_ns
time.time = lambda: real_time() + ahead
time.time_ns = lambda: real_time_ns() + int(ahead * 1_000_000_000)
"""


def has_logged(relay: Relay, event: str) -> bool:
    return any(line["event"] == event for line in relay.logs("dispatcher"))


def test_C10_dispatchers_two_hours_apart_send_nothing_twice_and_stall_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    if fleet.store.dialect.name == "sqlite":
        pytest.skip("the processes of a SQLite database share one machine")
    (tmp_path / "sitecustomize.py").write_text(SKEWED)
    path = f"{tmp_path}:{ROOT}"
    for ahead in ("3600", "-3600"):
        relay = fleet.relay(PYTHONPATH=path, RELAY_SERVICE_SKEW=ahead)
        relay.forks = False  # Python reads that file when it starts
        relay.start("dispatcher")
    with Receiver(secret=fleet.secret, answer=lambda one: Answer(200 if one.repeats else 500)) as receiver:
        for relay in fleet.relays:  # each has asked the database for the time, and says how far off it is
            wait_until(
                partial(has_logged, relay, "clock_disagrees"), 20, "a machine sees that its clock is wrong"
            )
        ids = fleet.enqueue([f"{receiver.url}/{n % 20}" for n in range(100)])
        fleet.wait_until_ended()
    assert Counter(one.id for one in receiver.received) == dict.fromkeys(ids, 2)
    assert {one.problem for one in receiver.received} == {None}
    assert all(fleet.attempts(one) == ["http_5xx", None] for one in ids)
