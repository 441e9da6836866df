"""What web processes count reaches SQL, and the fleet's metrics have a port of their own."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import telemetry
from relay.api import totals
from relay.api.totals import PeriodicFlush
from relay.common.ids import NewId
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.housekeeping.sql import fleet
from relay.subscribers.encryption import Encryption
from relay.telemetry import metrics
from relay.telemetry.events import WatchRegistered
from relay.telemetry.fleet import Fleet, FleetNumbers
from relay.telemetry.metrics_port import serve_metrics
from tests.support.api import context_for_tests, new_caller, serving
from tests.support.database import id_maker
from tests.support.processes import Relay, free_port, wait_until

REGISTERED = ("relay_watches_registered_total", "")


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    """Other tests of this process count too."""
    metrics.drain_totals()
    yield
    metrics.drain_totals()


@pytest.fixture
def new_id(own_store: Store) -> NewId:
    return id_maker(Clock(own_store).now)


def kept(store: Store) -> int:
    return store.read(fleet.numbers, 1).totals.get(REGISTERED, 0)


def test_what_a_request_counts_is_written_after_its_answer(
    own_store: Store, encryption: Encryption, new_id: NewId
) -> None:
    with serving(context_for_tests(own_store, encryption)) as port:
        caller = new_caller(port, own_store, encryption, new_id)
        assert caller.watch().status == 201
        assert wait_until(lambda: kept(own_store), 10, "the total is in SQL") == 1


def test_it_is_written_every_few_seconds_only(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    periodic = PeriodicFlush(own_store)
    for _ in range(3):
        telemetry.emit(WatchRegistered(1, 1))
        periodic.flush_if_due()
    assert kept(own_store) == 1
    monkeypatch.setattr(totals, "EVERY", 0.0)
    monkeypatch.setattr(periodic, "_due_at", 0.0)
    periodic.flush_if_due()
    assert kept(own_store) == 3


def test_what_can_not_be_written_is_kept_and_nobody_is_troubled(own_store: Store, tmp_path: Path) -> None:
    telemetry.emit(WatchRegistered(2, 2))
    away = Store(f"sqlite:///{tmp_path / 'no folder' / 'relay.db'}", retry_timeout=0.05)
    totals.flush(away)
    empty = Store(f"sqlite:///{tmp_path / 'not_migrated.db'}", retry_timeout=0.05)
    totals.flush(empty)
    totals.flush(own_store)
    assert kept(own_store) == 2
    for store in (away, empty):
        store.close()


def scraped(address: str) -> str:
    """The metrics; an empty text while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            assert answer.headers["content-type"].startswith("text/plain")
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""


@pytest.mark.processes
def test_a_web_serves_the_fleets_metrics_on_a_port_of_their_own_and_leaves_no_count_behind(
    own_database_url: str, own_store: Store, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = {"RELAY_METRICS_ADDR": address, "WEB_CONCURRENCY": "2"}
    relay = Relay(own_database_url, "http://127.0.0.1:1", tmp_path, settings)
    relay.subscribe()
    try:
        relay.start("web")
        assert "\nrelay_watches_waiting 0.0\n" in scraped(address)
        for number in range(4):
            body = {"job_id": f"j{number}", "callback_url": "http://127.0.0.1:1/hook"}
            assert relay.call("POST", "/v1/watches", body).status_code == 201
        assert relay.stop() == {"web": 0}
    finally:
        relay.end()
    assert scraped(address) == ""
    assert kept(own_store) == 4
    assert {line["event"] for line in relay.logs("web")} == {"metrics_served", "watch_registered"}


def test_a_scrape_while_the_database_is_away_is_503() -> None:
    def read() -> FleetNumbers:
        raise ConnectionError

    server = serve_metrics("127.0.0.1:0", Fleet(read))
    assert server is not None
    try:
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/", timeout=10)
        caught.value.close()
    finally:
        server.shutdown()
        server.server_close()
