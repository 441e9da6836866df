"""The real processes beside a provider that notifies, hangs, denies or gives no credentials."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest
import requests
from sqlalchemy import select, update

from relay.common.time import US_PER_SECOND
from relay.db.statements import lock
from relay.db.tables import Delivery, Job, Watch
from relay.provider.list_ai_job.rules.events import sign
from relay.sandbox.receiver import Answer, Received, Receiver, verified
from tests.support.dispatch import Fleet, running_fleet
from tests.support.processes import Relay, wait_until
from tests.support.provider import Provider, reply, scripted_server

pytestmark = pytest.mark.processes

URL, KEY = "https://relay.example.com/hooks/vod", "hush-key"
SETTINGS = {
    "RELAY_UPSTREAM_RATE": "20",
    "RELAY_LEASE_SECONDS": "30",
    "RELAY_VOD_CALLBACK_URL": URL,
    "RELAY_VOD_CALLBACK_KEY": KEY,
}


@pytest.fixture
def relay(own_database_url: str, provider: Provider, tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(own_database_url, provider.url, tmp_path, SETTINGS)
    relay.subscribe()
    try:
        yield relay
    finally:
        relay.end()


def watch(relay: Relay, job_id: str, url: str) -> None:
    answer = relay.call("POST", "/v1/watches", {"job_id": job_id, "callback_url": url})
    assert answer.status_code == 201, answer.text


def notify(relay: Relay, job_id: str) -> None:
    timestamp = str(int(time.time()))
    headers = {"X-VOD-TIMESTAMP": timestamp, "X-VOD-SIGNATURE": sign(URL, KEY, timestamp)}
    event = {"EventType": "AIVideoTagComplete", "JobId": job_id, "Status": "success"}
    answer = requests.post(f"{relay.url}/hooks/vod", json=event, headers=headers, timeout=5)
    assert answer.status_code == 200


def last_polled(relay: Relay, job_id: str) -> float:
    polled_at = relay.call("GET", f"/v1/jobs/{job_id}").json()["polled_at"]
    return datetime.fromisoformat(polled_at).timestamp() if polled_at else 0.0


def has_ended(provider: Provider, job_id: str) -> bool:
    shown = requests.get(f"{provider.url}/sandbox/jobs/{job_id}", timeout=10).json()
    return bool(shown["Status"] == "success")


def test_an_event_brings_the_webhook_within_a_second_of_when_the_job_may_be_asked_about(
    relay: Relay, provider: Provider
) -> None:
    relay.start()
    delays = []
    with Receiver(secret=relay.secret) as receiver:
        for count in range(1, 4):
            (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 2.5})
            watch(relay, job_id, f"{receiver.url}/h")
            wait_until(lambda job_id=job_id: last_polled(relay, job_id), 10, "the job is polled")  # type: ignore[misc]
            wait_until(lambda job_id=job_id: has_ended(provider, job_id), 10, "the job has ended")  # type: ignore[misc]
            may_be_asked_at = max(time.time(), last_polled(relay, job_id) + 2)
            notify(relay, job_id)
            receiver.wait_for(count, 20)
            delays.append(time.time() - may_be_asked_at)
    assert median(delays) < 1
    assert "hint_received" in {line["event"] for line in relay.logs("web")}
    assert "hush" not in (relay.folder / "web.log").read_text()


def test_I5_a_hanging_listaijob_stops_no_delivery(relay: Relay, provider: Provider) -> None:
    (done,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    relay.start("web", "poller")
    with Receiver(secret=relay.secret) as receiver:
        watch(relay, done, f"{receiver.url}/done")
        wait_until(lambda: relay.all("/v1/deliveries"), 10, "a delivery is pending")
        provider.fault("slow", seconds=60)
        asked = provider.calls()["calls"]
        watch(relay, "sandbox-tag-success-0s-hangs", f"{receiver.url}/hangs")
        wait_until(lambda: provider.calls()["calls"] > asked, 10, "the provider is asked and hangs")
        relay.start("dispatcher")
        assert [one.path for one in receiver.wait_for(1, 5)] == ["/done"]
        late = f"{receiver.url}/late"
        watch(relay, done, late)  # the job is known to have ended: this delivery is due at once
        assert len(receiver.wait_for(2, 5)) == 2
        provider.clear_faults()
        assert len(receiver.wait_for(3, 40)) == 3


def test_I5_hanging_receivers_stop_no_poll(relay: Relay, provider: Provider) -> None:
    job_ids = provider.make_jobs(
        *({"type": "AIMediaDNA", "outcome": "success", "seconds": n / 5} for n in range(20))
    )
    relay.start()

    def hang(received: Received) -> Answer:
        return Answer(delay=10) if received.path.startswith("/hang") else verified(received)

    with Receiver(answer=hang, secret=relay.secret) as receiver:
        for n, job_id in enumerate(job_ids):
            watch(relay, job_id, f"{receiver.url}/hang{n}")
        wait_until(lambda: not relay.all("/v1/watches?status=waiting"), 20, "every job was polled to its end")
        (one,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
        watch(relay, one, f"{receiver.url}/good")
        wait_until(lambda: any(r.path == "/good" for r in receiver.received), 10, "the good one is delivered")


def test_denied_credentials_are_shown_in_readyz_and_recover_by_themselves(
    relay: Relay, provider: Provider
) -> None:
    provider.fault("error", code="Forbidden.RAM", status=403)
    relay.start("web", "poller")
    watch(relay, "sandbox-tag-success-0s-x", "http://127.0.0.1:9/h")

    def provider_state() -> dict[str, str]:
        answer = requests.get(f"{relay.url}/readyz", timeout=10)
        assert answer.status_code == 200
        state: dict[str, str] = answer.json()["provider"]
        return state

    wait_until(lambda: provider_state()["status"] == "failing", 15, "readyz says that the provider denies us")
    assert provider_state()["code"] == "Forbidden.RAM"
    calls = provider.calls()["calls"]
    assert calls == 1
    relay.kill("poller")


def test_a_poller_whose_role_gives_nothing_says_so_and_lives(relay: Relay, provider: Provider) -> None:
    missing = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "",
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(relay.folder / "no-such-token"),
    }
    relay.settings = {**SETTINGS, **missing}
    relay.start("web", "poller")
    watch(relay, "sandbox-tag-success-0s-x", "http://127.0.0.1:9/h")
    wait_until(
        lambda: any(line["event"] == "upstream_down" for line in relay.logs("poller")),
        20,
        "the poller says so",
    )
    said = {line["event"] for line in relay.logs("poller")}
    assert "credentials_not_renewed" in said
    answer = requests.get(f"{relay.url}/readyz", timeout=10)
    assert answer.status_code == 200
    assert provider.calls()["calls"] == 0
    assert relay.stop("poller") == {"poller": 0}


SUCCESS = {"JobId": "one", "Type": "AIVideoTag", "Status": "success", "Code": "0", "Message": "OK"}
ENDED = json.dumps({"RequestId": "R", "AIJobList": {"AIJob": [SUCCESS]}}).encode()


def end_leases(fleet: Fleet) -> None:
    """Make the time pass after which what is being asked about counts as lost."""
    past = update(Job).where(Job.token.is_not(None)).values(due_at=fleet.clock.now() - US_PER_SECOND)
    fleet.store.write(lambda tx: tx.execute(past))


def test_C13_pollers_killed_before_and_after_the_answer_lose_nothing_and_deliver_nothing_twice(
    own_database_url: str, tmp_path: Path
) -> None:
    """The first is killed while it waits, the second with the answer read; the third records it."""
    go, answered, asked = threading.Event(), threading.Event(), threading.Semaphore(0)

    def script(connection: socket.socket, _head: bytes) -> None:
        number = len(server.requests)
        asked.release()
        go.wait(30)
        connection.sendall(reply("200 OK", {"Content-Type": "application/json"}, ENDED))
        if number == 2:
            answered.set()

    with scripted_server(script) as server, running_fleet(own_database_url, tmp_path) as fleet:
        watch_id = fleet.world.watch("one")
        pollers = [fleet.relay(RELAY_UPSTREAM_URL=server.url) for _ in range(3)]
        pollers[0].start("poller")
        assert asked.acquire(timeout=20)
        pollers[0].kill("poller")
        assert fleet.world.rows(Job)[0].token
        end_leases(fleet)
        pollers[1].start("poller")
        assert asked.acquire(timeout=20)
        with fleet.store.engine.connect() as locker:
            locker.execute(lock(select(Job.id)))  # now nothing can be recorded
            go.set()
            assert answered.wait(10)
            pollers[1].kill("poller")
        assert fleet.world.rows(Watch)[0].status == "waiting"
        end_leases(fleet)
        pollers[2].start("poller")
        wait_until(lambda: fleet.world.rows(Watch)[0].status == "success", 20, "the watch has ended")
        assert pollers[2].stop() == {"poller": 0}
        assert [(one.watch_id, one.status) for one in fleet.world.rows(Delivery)] == [(watch_id, "pending")]
        assert [(job.status, job.attempt_count) for job in fleet.world.rows(Job)] == [("success", 3)]
    assert len(server.requests) == 3
