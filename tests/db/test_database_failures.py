"""Databases that disconnect, stall, fill up or restart during work (C6, C11, C12, C14)."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from relay.db import migrate
from relay.db.engine import Store
from relay.db.tables import Attempt
from relay.sandbox.receiver import Answer, Receiver
from tests.support.dispatch import running_fleet
from tests.support.processes import Relay, wait_until
from tests.support.provider import running_provider
from tests.support.servers import Server, fill, private_server, small_disk

pytestmark = pytest.mark.processes

STALL = 5.5  # seconds
LOCK_ENDPOINTS = {
    "postgresql": "LOCK TABLE endpoints IN ACCESS EXCLUSIVE MODE",
    "mysql": "LOCK TABLES endpoints WRITE",
    "sqlite": "SELECT 1",  # whose transactions that may write lock everything
}
OTHER_CONNECTIONS = {
    "postgresql": "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}
BREAK = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


@contextmanager
def nobody_writes(store: Store) -> Iterator[None]:
    """Nothing can be written to the endpoints inside this block."""
    with store.engine.connect() as connection:
        connection.execute(text(LOCK_ENDPOINTS[store.dialect.name]))
        yield
        if store.dialect.name == "mysql":
            connection.execute(text("UNLOCK TABLES"))


def break_connections(store: Store) -> None:
    """End every other connection to this database; on SQLite, keep the others from writing."""
    if store.dialect.name == "sqlite":
        with nobody_writes(store):
            time.sleep(0.3)
        return
    with store.engine.connect() as connection:
        for number in list(connection.scalars(text(OTHER_CONNECTIONS[store.dialect.name]))):
            try:
                connection.execute(text(BREAK[store.dialect.name].format(number)))
            except Exception:  # noqa: BLE001 - it has gone meanwhile
                connection.rollback()


def test_C6_connections_that_break_while_results_are_recorded_lose_nothing_and_leave_nothing_stuck(
    own_database_url: str, tmp_path: Path
) -> None:
    with running_fleet(own_database_url, tmp_path) as fleet, Receiver(secret=fleet.secret) as receiver:
        ids = fleet.enqueue([f"{receiver.url}/{n % 20}" for n in range(300)])
        relay = fleet.dispatcher()
        for came in range(10, 300, 30):
            receiver.wait_for(came, 40)
            break_connections(fleet.store)
        assert fleet.wait_until_ended(60) == {"delivered": 300}
        assert relay.stop() == {"dispatcher": 0}
        assert {one.id for one in receiver.received} == set(ids)
        assert len(receiver.received) - 300 <= fleet.errors()["lost"]


def test_C14_answers_that_came_during_a_stall_of_the_database_count(
    own_database_url: str, tmp_path: Path
) -> None:
    go = threading.Event()

    def answer(_received: object) -> Answer:
        go.wait(30)
        return Answer()

    settings = {"RELAY_ATTEMPT_TIMEOUT": "4", "RELAY_LEASE_SECONDS": "19"}
    with (
        running_fleet(own_database_url, tmp_path, **settings) as fleet,
        Receiver(answer=answer) as receiver,
    ):
        ids = fleet.enqueue([f"{receiver.url}/{n}" for n in range(100)])
        fleet.dispatcher()
        receiver.wait_for(100, 30)
        with nobody_writes(fleet.store):
            go.set()
            time.sleep(STALL)
            assert fleet.statuses() == {"pending": 100}
        fleet.wait_until_ended()
        assert Counter(one.id for one in receiver.received) == dict.fromkeys(ids, 1)
        assert fleet.errors() == {None: 100}
        assert max(row.duration for row in fleet.world.rows(Attempt)) < 4_000_000


# C11: databases that refuse every write.


@contextmanager
def sqlite_on_a_small_disk(folder: Path) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A database's URL, a function that fills its disk, and a function that frees it."""
    folder.mkdir()
    with small_disk(folder) as disk:
        url = f"sqlite:///{disk / 'relay.db'}"
        migrate.upgrade(url)

        def hurt() -> None:
            store = Store(url)
            store.read(lambda tx: tx.execute(text("SELECT 1")))
            with store.engine.raw_connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # no space left in the log either
            fill(disk)
            store.close()

        yield url, hurt, (disk / "ballast").unlink


@contextmanager
def read_only_server(kind: str) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A database's URL, a function that makes its server read-only, and its inverse."""
    with private_server(kind) as server:

        def switch(to: str) -> None:
            if kind == "postgresql":
                allow = "SET default_transaction_read_only = off"
                order = f"ALTER SYSTEM SET default_transaction_read_only = {to}"
                server.run(allow, order, "SELECT pg_reload_conf()")
            else:
                server.run(f"SET GLOBAL read_only = {to}")

        yield server.url, lambda: switch("on"), lambda: switch("off")


def readiness(relay: Relay) -> int:
    return relay.call("GET", "/readyz").status_code


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_C11_a_full_disk_or_a_read_only_database_turns_readiness_red_until_it_is_mended(
    kind: str, tmp_path: Path
) -> None:
    go = threading.Event()

    def answer(_received: object) -> Answer:
        go.wait(60)
        return Answer()

    sick = sqlite_on_a_small_disk(tmp_path / "disk") if kind == "sqlite" else read_only_server(kind)
    settings = {"RELAY_ATTEMPT_TIMEOUT": "30", "RELAY_LEASE_SECONDS": "60"}
    with ExitStack() as stack:
        url, hurt, heal = stack.enter_context(sick)
        fleet = stack.enter_context(running_fleet(url, tmp_path, **settings))
        receiver = stack.enter_context(Receiver(secret=fleet.secret, answer=answer))
        ids = fleet.enqueue([f"{receiver.url}/{n}" for n in range(10)])
        relay = fleet.dispatcher()
        relay.start("web")
        receiver.wait_for(10, 20)
        hurt()
        go.set()
        wait_until(lambda: readiness(relay) == 503, 20, "readiness is red")
        watch = {"job_id": "j", "callback_url": f"{receiver.url}/new"}
        assert relay.call("POST", "/v1/watches", watch).status_code == 503
        assert relay.call("GET", "/v1/watches?limit=1").status_code == 200
        assert relay.call("GET", "/healthz").status_code == 200
        heal()
        wait_until(lambda: readiness(relay) == 200, 20, "readiness is green")
        assert relay.call("POST", "/v1/watches", watch).status_code == 201
        assert fleet.wait_until_ended() == {"delivered": 10}
        assert Counter(one.id for one in receiver.received) == dict.fromkeys(ids, 1)
        assert relay.stop() == {"dispatcher": 0, "web": 0}


# C12: restarts. A SQLite database has no server that could restart.


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with private_server(request.param) as server:
        yield server


def test_C12_a_server_that_crashes_and_restarts_under_load_loses_nothing(
    server: Server, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(running_provider())
        fleet = stack.enter_context(running_fleet(server.url, tmp_path, RELAY_UPSTREAM_RATE="50"))
        receiver = stack.enter_context(Receiver(secret=fleet.secret))
        job_ids = provider.make_jobs(*[{"type": "AIVideoTag", "outcome": "success", "seconds": 0}] * 200)
        relay = fleet.relay()
        relay.provider_url = provider.url
        relay.start()
        made = []
        for part in range(20):
            if part == 8:
                receiver.wait_for(20, 30)
                restart = restarting(server, relay)
            watches = [
                {"job_id": job_id, "callback_url": f"{receiver.url}/{n}"}
                for n, job_id in enumerate(job_ids[part * 10 : part * 10 + 10])
            ]
            answer = relay.post_until_answered("/v1/watches/batch", {"watches": watches}, f"part {part}")
            assert answer.status_code == 201, answer.text
            made += [watch["id"] for watch in answer.json()["data"]]
        restart.join()
        wait_until(lambda: relay.has_none("/v1/watches?status=waiting"), 60, "every watch has ended")
        wait_until(lambda: relay.has_none("/v1/deliveries?status=pending"), 60, "every delivery has ended")
        deliveries = relay.all("/v1/deliveries")
        assert set(relay.stop().values()) == {0}
    assert len(set(made)) == 200
    assert Counter(one["watch_id"] for one in deliveries) == dict.fromkeys(made, 1)
    assert {one["status"] for one in deliveries} == {"delivered"}
    assert {one.id for one in receiver.received} == {one["id"] for one in deliveries}
    assert len(receiver.received) - 200 <= fleet_lost(deliveries)


def restarting(server: Server, relay: Relay) -> threading.Thread:
    """Crash the server, check that the relay reports it, and start it again."""
    server.crash()

    def work() -> None:
        wait_until(lambda: readiness(relay) == 503, 20, "readiness is red")
        server.start()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def fleet_lost(deliveries: list[dict[str, int]]) -> int:
    """How many attempts were made again."""
    return sum(one["attempt_count"] - 1 for one in deliveries)
