"""A second source is a folder and a registration: nothing else knows of it up to the webhook."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select, update

from relay import bootstrap
from relay.api.context import AppContext
from relay.bootstrap import Base, processes
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.db.tables import Job, Upstream
from relay.endpoints.sql import endpoints
from relay.housekeeping import housekeeper
from relay.provider import registry
from relay.sandbox.listaijob import ACCESS_KEY_ID, ACCESS_KEY_SECRET
from relay.sandbox.receiver import Receiver
from relay.sending.rules.webhook import BODY_LIMIT
from relay.settings import load
from relay.watches.sql import watches
from tests.support.api import Caller, new_caller, serving
from tests.support.database import id_maker
from tests.support.processes import MASTER_KEY, wait_until
from tests.support.provider import Provider, running_provider
from tests.toy_source.source import Farm, toy_source

TOY = "render_farm"


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> Farm:
    """The toy's provider; the registration is the only change outside the toy's folder."""
    farm = Farm()
    monkeypatch.setitem(registry.SOURCES, TOY, toy_source(farm))
    registry.check(registry.SOURCES)
    return farm


@dataclass
class House:
    """An API, pollers and, on demand, a dispatcher: all in this process but the sender."""

    base: Base
    provider: Provider
    caller: Caller

    @property
    def store(self) -> Store:
        return self.base.store

    @property
    def clock(self) -> Clock:
        return self.base.clock

    def watch(self, job_id: str, url: str = "https://hooks.example.com/a", **members: Any) -> dict[str, Any]:
        body = {"job_id": job_id, "callback_url": url, "source": TOY, **members}
        answer = self.caller.post("/v1/watches", body)
        assert answer.status == 201, answer.body
        document: dict[str, Any] = answer.json
        return document

    def poll(self, *names: str) -> None:
        """One iteration of a poller of each of these sources, recorded."""
        pollers = bootstrap.build_pollers(self.base)
        for name, poller in zip(registry.SOURCES, pollers, strict=True):
            if name in (names or registry.SOURCES):
                poller.run_once()
            poller.drain()

    def deliver(self, receiver: Receiver, count: int) -> list[dict[str, Any]]:
        """The bodies of the first so many webhooks, all of them verified."""
        stop = threading.Event()
        dispatcher = bootstrap.build_dispatcher(self.base)
        thread = threading.Thread(target=dispatcher.run, args=(stop,))
        thread.start()
        try:
            received = receiver.wait_for(count, 60)
        finally:
            stop.set()
            thread.join()
        assert all(one.problem is None for one in received)
        return [json.loads(one.body) for one in received]

    def status(self, watch_id: str) -> str:
        return str(self.caller.get(f"/v1/watches/{watch_id}").json["status"])

    def rows(self, table: Any) -> list[Any]:
        return self.store.read(lambda tx: list(tx.execute(select(table.__table__))))


@pytest.fixture
def house(farm: Farm, own_database_url: str, own_store: Store) -> Iterator[House]:  # noqa: ARG001 - it registers
    with running_provider() as provider:
        settings = load(
            {
                "DATABASE_URL": own_database_url,
                "RELAY_MASTER_KEY": MASTER_KEY,
                "RELAY_CALLBACK_SCHEMES": "http,https",
                "RELAY_CALLBACK_ALLOW": "127.0.0.0/8",
                "RELAY_UPSTREAM_URL": provider.url,
                "ALIBABA_CLOUD_ACCESS_KEY_ID": ACCESS_KEY_ID,
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ACCESS_KEY_SECRET,
            }
        )
        clock = Clock(own_store)
        encryption = bootstrap.build_encryption(settings)
        with serving(AppContext(settings, own_store, clock, encryption)) as port:
            caller = new_caller(port, own_store, encryption, id_maker(clock.now))
            yield House(Base(settings, own_store, clock), provider, caller)


@pytest.mark.processes
def test_a_job_of_the_toy_goes_from_its_registration_to_a_verified_webhook(house: House, farm: Farm) -> None:
    with Receiver(secret=house.caller.secret) as receiver:
        done = house.watch("film", f"{receiver.url}/done", metadata={"shot": 7})
        broken = house.watch("short", f"{receiver.url}/broken")
        assert done["source"] == TOY
        assert done["events"] == ["render.done", "render.broken", "watch.expired"]
        house.poll()
        assert house.status(done["id"]) == "waiting"
        farm.renders |= {"film": 3, "short": 0}
        house.store.write(lambda tx: tx.execute(update(Job).values(due_at=0, polled_at=0)))
        house.poll()
        bodies = {body["type"]: body["data"] for body in house.deliver(receiver, 2)}
    assert bodies["render.done"]["watch_id"] == done["id"]
    assert bodies["render.done"]["metadata"] == {"shot": 7}
    assert bodies["render.done"]["job"]["data"] == {"frames": ["0.png", "1.png", "2.png"]}
    assert bodies["render.broken"]["watch_id"] == broken["id"]
    assert bodies["render.broken"]["job"]["status"] == "fail"
    shown = house.caller.get(f"/v1/jobs/film?source={TOY}").json
    assert (shown["source"], shown["status"]) == (TOY, "success")
    assert shown["result"] == {"kind": "render", "frame_count": 3}
    late = house.watch("film", "https://late.example/a")  # its job is known to have ended
    assert late["status"] == "success"


def test_one_process_polls_both_sources(house: House, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    (job_id,) = house.provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    farm.renders["film"] = 1
    ids = [house.watch("film")["id"], house.caller.watch(job_id=job_id).json["id"]]
    stop = threading.Event()
    monkeypatch.setattr(processes, "_stop_on_signals", lambda: stop)
    pollers, tidying = bootstrap.build_pollers(house.base), bootstrap.build_housekeeper(house.base)
    store = Store(house.base.settings.database_url.get_secret_value())
    base = replace(house.base, store=store)  # the process closes it in the end
    process = threading.Thread(target=processes.run_poller, args=(pollers, tidying, base))
    process.start()
    try:
        for watch_id in ids:
            wait_until(lambda: house.status(watch_id) == "success", 30, "the watch has ended")  # noqa: B023 - at once
    finally:
        stop.set()
        process.join()
    assert farm.is_given_up


@pytest.mark.processes
def test_data_that_no_webhook_can_hold_is_found_at_the_jobs_own_source(house: House, farm: Farm) -> None:
    farm.renders["epic"] = BODY_LIMIT // 10
    with Receiver(secret=house.caller.secret) as receiver:
        house.watch("epic", receiver.url)
        house.poll()
        (body,) = house.deliver(receiver, 1)
    shown = house.caller.get(body["data"]["job"]["data_url"]).json
    assert len(shown["data"]["frames"]) == BODY_LIMIT // 10


def test_a_call_of_the_toy_asks_about_20_jobs_and_takes_nothing_of_the_default_sources_rate(
    house: House, farm: Farm
) -> None:
    body = [
        {"job_id": f"render-{n}", "callback_url": "https://a.example/h", "source": TOY} for n in range(40)
    ]
    assert house.caller.post("/v1/watches/batch", {"watches": body}).status == 201
    house.poll(TOY)
    farm.is_closed = True  # the toy's source goes down: nothing is asked for a minute
    wait_for_call(house)
    house.poll(TOY)
    assert farm.calls == [20, 20]
    (ai_job,) = house.provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    assert house.caller.watch(job_id=ai_job).status == 201
    house.poll()
    upstreams = {row.source: row for row in house.rows(Upstream)}
    assert upstreams[TOY].error_code == "Farm.Closed"
    assert upstreams[registry.DEFAULT_SOURCE].error_code is None
    assert house.provider.calls()["calls"] == 1
    assert farm.calls == [20, 20]
    assert house.caller.get(f"/v1/jobs/{ai_job}").json["status"] == JobStatus.SUCCESS


def wait_for_call(house: House) -> None:
    """Until the toy's rate limiter has a call again."""
    free = update(Upstream).where(Upstream.source == TOY).values(next_call_at=0)
    house.store.write(lambda tx: tx.execute(free))


def test_the_same_id_at_two_sources_is_two_jobs(house: House, farm: Farm) -> None:
    (job_id,) = house.provider.make_jobs({"type": "AIVideoTag", "outcome": "fail", "seconds": 0})
    farm.renders[job_id] = 1
    ours = house.watch(job_id)
    other = house.caller.watch(job_id=job_id).json
    assert "source" not in other
    house.poll()
    assert house.status(ours["id"]) == "success"
    assert house.status(other["id"]) == "fail"
    assert {row["id"] for row in house.caller.get(f"/v1/watches?job_id={job_id}").json["data"]} == {
        ours["id"],
        other["id"],
    }
    assert house.caller.get(f"/v1/jobs/{job_id}").json["status"] == "fail"


def test_watches_on_ended_jobs_of_both_sources_end_in_one_registration(house: House, farm: Farm) -> None:
    (job_id,) = house.provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    farm.renders["film"] = 1
    house.watch("film")
    house.caller.watch(job_id=job_id)
    house.poll()
    url = {"callback_url": "https://late.example/a"}
    batch = {"watches": [{"job_id": "film", "source": TOY, **url}, {"job_id": job_id, **url}]}
    assert [row["status"] for row in house.caller.post("/v1/watches/batch", batch).json["data"]] == [
        "success"
    ] * 2
    events = [row["event"] for row in house.caller.get("/v1/deliveries").json["data"]]
    assert sorted(events) == ["ai_job.success"] * 2 + ["render.done"] * 2


def test_a_watch_of_the_toy_expires_with_the_relays_own_event(house: House) -> None:
    watch = house.watch("film", timeout_seconds=60)
    later = house.clock.now() + 61 * US_PER_SECOND
    overdue = house.store.read(watches.overdue, later, 10)
    house.store.write(housekeeper.expire, overdue, later, id_maker(lambda: later))
    assert house.status(watch["id"]) == "expired"
    assert [row["event"] for row in house.caller.get("/v1/deliveries").json["data"]] == ["watch.expired"]


def test_an_event_that_ends_no_watch_is_told_to_those_who_asked_for_it(house: House) -> None:
    asked = house.watch("film", events=["render.done", "render.started"])
    house.watch("film", events=["render.done"])
    assert asked["events"] == ["render.started", "render.done"]

    def begin(tx: Any) -> None:
        rows = watches.waiting_for(tx, list(tx.scalars(select(Job.id))))
        endpoints.lock_in_order(tx, [row.endpoint_id for row in rows])
        watches.notify(tx, rows, "render.started", house.clock.now(), id_maker(house.clock.now))

    house.store.write(begin)
    shown = house.caller.get(f"/v1/watches/{asked['id']}").json
    assert (shown["status"], len(shown["delivery_ids"])) == ("waiting", 1)
    assert len(house.caller.get("/v1/deliveries").json["data"]) == 1


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"source": "toy"}, "/source"),
        ({"source": 7}, "/source"),
        ({"source": TOY, "events": ["ai_job.success"]}, "/events"),
        ({"events": ["render.done"]}, "/events"),
    ],
)
def test_a_watch_names_a_source_that_is_registered_and_events_of_it(
    house: House, members: dict[str, Any], pointer: str
) -> None:
    answer = house.caller.watch(**members)
    assert (answer.status, answer.pointers) == (422, [pointer])


def test_a_job_is_looked_for_at_a_source_that_is_registered(house: House) -> None:
    house.watch("film")
    assert house.caller.get(f"/v1/jobs/film?source={TOY}").status == 200
    assert house.caller.get("/v1/jobs/film").status == 404
    assert house.caller.get("/v1/jobs/film?source=toy").pointers == ["/source"]
