"""The relay as operators run it: real processes on every database, killed and stopped mid-work."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.sandbox.receiver import Received, Receiver
from tests.support.processes import Relay, wait_until
from tests.support.provider import Provider, running_provider

pytestmark = pytest.mark.processes

QUICK = {
    "RELAY_UPSTREAM_RATE": "50",
    "RELAY_ATTEMPT_TIMEOUT": "1",
    "RELAY_LEASE_SECONDS": "16",
    "RELAY_MISSING_GRACE": "2",
    "RELAY_RETRY_SCHEDULE": "0.2,0.2,0.2",
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def relay(own_database_url: str, provider: Provider, tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(own_database_url, provider.url, tmp_path, QUICK)
    relay.subscribe()
    try:
        yield relay
    finally:
        relay.end()


@pytest.mark.timeout(180)
def test_C1_C2_a_thousand_watches_end_in_one_webhook_each_whoever_is_killed(
    relay: Relay, provider: Provider
) -> None:
    jobs = [
        {
            "type": ("AIVideoTag", "AIMediaDNA")[n % 2],
            "outcome": ("success", "success", "fail")[n % 3],
            "seconds": 1 + n % 7,
        }
        for n in range(500)
    ]
    job_ids = provider.make_jobs(*jobs)
    relay.start()
    with Receiver(secret=relay.secret) as receiver:
        hooks = [f"{receiver.url}/hook/{n}" for n in range(20)]
        watches = [
            {"job_id": job_ids[n % 500], "callback_url": hooks[n % 19], "metadata": {"n": n}}
            for n in range(1000)
        ]
        for part in range(10):
            body = {"watches": watches[part * 100 : part * 100 + 100]}
            if part == 4:
                relay.kill("web")
                relay.start("web")
            answer = relay.post_until_answered("/v1/watches/batch", body, f"part {part}")
            assert answer.status_code == 201, answer.text
            assert len(answer.json()["data"]) == 100
        receiver.wait_for(100, 60)
        relay.kill("dispatcher")
        relay.start("dispatcher")
        receiver.wait_for(300, 60)
        relay.kill("poller")
        relay.start("poller")
        wait_until(lambda: relay.has_none("/v1/watches?status=waiting"), 60, "every watch has ended")
        wait_until(lambda: relay.has_none("/v1/deliveries?status=pending"), 60, "every delivery has ended")
        codes = relay.stop()
        assert set(codes.values()) == {0}
        check_deliveries(relay, receiver.received)


def check_deliveries(relay: Relay, received: list[Received]) -> None:
    relay.start("web")
    watches, deliveries = relay.all("/v1/watches"), relay.all("/v1/deliveries")
    assert len(watches) == 1000
    assert Counter(watch["status"] for watch in watches)["waiting"] == 0
    assert len(deliveries) == len({delivery["watch_id"] for delivery in deliveries}) == 1000
    assert {delivery["status"] for delivery in deliveries} == {"delivered"}
    assert {one.problem for one in received} == {None}
    assert {one.id for one in received} == {delivery["id"] for delivery in deliveries}
    repeats = len(received) - 1000
    lost = sum(delivery["attempt_count"] - 1 for delivery in deliveries)
    assert repeats <= lost


def test_every_outcome_reaches_its_receiver_through_the_real_processes(
    relay: Relay, provider: Provider
) -> None:
    good, bad = provider.make_jobs(
        {"type": "AIVideoTag", "outcome": "success", "seconds": 0},
        {"type": "AIMediaDNA", "outcome": "fail", "seconds": 0},
    )
    relay.forks = False
    relay.start()
    with Receiver(secret=relay.secret) as receiver:
        for job_id in (good, bad, "nobody-knows-this-one"):
            made = relay.call(
                "POST", "/v1/watches", {"job_id": job_id, "callback_url": f"{receiver.url}/h?job={job_id}"}
            )
            assert made.status_code == 201, made.text
        received = receiver.wait_for(3, 40)
    assert {one.path: one.problem for one in received} == {
        f"/h?job={job_id}": None for job_id in (good, bad, "nobody-knows-this-one")
    }
    types = {json.loads(one.body)["type"] for one in received}
    assert types == {"ai_job.success", "ai_job.fail", "ai_job.missing"}
