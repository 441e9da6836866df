"""No secret leaks: not in logs, metrics or errors, whatever fails, on every database (K2)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from relay.sandbox.listaijob import ACCESS_KEY_SECRET
from relay.sandbox.receiver import Answer, Received, Receiver
from tests.support.dispatch import Fleet, running_fleet, silent_listener
from tests.support.processes import MASTER_KEY, Relay, wait_until
from tests.support.provider import Provider, running_provider

pytestmark = pytest.mark.processes

MARK = "tattle"  # in everything that must stay secret
METADATA = {"order": f"{MARK}-metadata"}
HEADERS = {"x-token": f"{MARK}-header"}
ADMIN = "admin-token-of-tests"
ANSWERS = {
    "ok": Answer(200, body=f"{MARK}-body".encode()),
    "fail": Answer(500, {"x": f"{MARK}-header"}, f"{MARK}-body".encode()),
    "moved": Answer(302, {"location": f"http://127.0.0.1/{MARK}-location"}),
    "gone": Answer(410, body=f"{MARK}-body".encode()),
}
QUERY = f"key={MARK}-query"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    settings = {
        "RELAY_CALLBACK_SCHEMES": "http,https",
        "RELAY_UPSTREAM_RATE": "50",
        "RELAY_ATTEMPT_TIMEOUT": "1",
        "RELAY_RETRY_SCHEDULE": "0.1",
    }
    with running_fleet(own_database_url, tmp_path, **settings) as fleet:
        yield fleet


def answer(received: Received) -> Answer:
    return ANSWERS[received.path.split("/")[1]]


def test_K2_a_relay_that_meets_every_failure_reveals_no_secret(fleet: Fleet, provider: Provider) -> None:
    relay = fleet.relay()
    relay.provider_url = provider.url
    relay.start()
    with Receiver(secret=fleet.secret, answer=answer) as receiver, silent_listener() as silent:
        bases = [*(f"{receiver.url}/{name}" for name in ANSWERS), f"{silent}/silent", "http://127.0.0.1:1"]
        bases += [
            receiver.url.replace("http", "https"),
            "http://nowhere.invalid",
            f"{receiver.url}/ok/broken",
        ]
        urls = [f"{base}/{MARK}-path" for base in bases]
        for url in urls:
            made = relay.call("POST", "/v1/endpoints", {"url": url, "headers": HEADERS})
            assert made.status_code == 201
        secrets = secrets_of_endpoints(relay) | {
            fleet.secret,
            fleet.api_key,
            MASTER_KEY,
            ACCESS_KEY_SECRET,
            ADMIN,
        }
        fleet.change(urls[-1], headers_sealed=f"{MARK}-sealed")
        problems = [*refusals(relay, urls[0]), *watch_all(relay, provider, urls)]
        wait_until(lambda: relay.has_none("/v1/watches?status=waiting"), 40, "every watch has ended")
        wait_until(lambda: relay.has_none("/v1/deliveries?status=pending"), 40, "every delivery has ended")
        metrics = requests.get(
            f"{relay.url}/metrics", headers={"Authorization": f"Bearer {ADMIN}"}, timeout=10
        ).text
        relay.stop()
    outputs = {"metrics": metrics, "settings": relay.command("settings")}
    outputs |= {f"problem {n}": text for n, text in enumerate(problems)}
    outputs |= {log.name: log.read_text() for log in sorted(relay.folder.glob("*.log"))}
    check_failures_happened(fleet, outputs)
    assert [
        (where, secret) for where, text in outputs.items() for secret in (MARK, *secrets) if secret in text
    ] == []


def watch_all(relay: Relay, provider: Provider, urls: list[str]) -> list[str]:
    """Watch an ending job at each URL; returns the refusals of reused idempotency keys."""
    job_ids = provider.make_jobs(*[{"type": "AIVideoTag", "outcome": "success", "seconds": 0}] * len(urls))
    refused = []
    for job_id, url in zip(job_ids, urls, strict=True):
        body = {"job_id": job_id, "callback_url": f"{url}?{QUERY}", "metadata": METADATA}
        made = relay.call("POST", "/v1/watches", body, Idempotency_Key=f"{MARK}-{job_id}")
        assert made.status_code == 201, made.text
        again = relay.call("POST", "/v1/watches", body | {"metadata": {}}, Idempotency_Key=f"{MARK}-{job_id}")
        assert again.status_code == 422
        refused.append(again.text)
    return refused


def refusals(relay: Relay, url: str) -> list[str]:
    """The problem documents of requests that are wrong in every way, and full of secrets."""
    good: dict[str, Any] = {"job_id": "j", "callback_url": f"{url}?{QUERY}", "metadata": METADATA}
    wrong: list[Any] = [
        good | {MARK: MARK},
        good | {"callback_url": f"https://{MARK}:{MARK}@h/{MARK}?{MARK}"},
        good | {"callback_url": f"http://10.0.0.1/{MARK}?{MARK}"},
        good | {"callback_url": f"ftp://h/{MARK}"},
        good | {"metadata": MARK},
        good | {"events": [MARK]},
        good | {"job_id": f"{MARK} {MARK}"},
        good | {"endpoint_id": MARK},
        good | {"timeout_seconds": MARK},
        [MARK],
        MARK,
    ]
    answers = [relay.call("POST", "/v1/watches", body) for body in wrong]
    answers += [
        relay.call("POST", "/v1/endpoints", {"url": url}),
        relay.call("POST", "/v1/endpoints", {"url": f"{url}/x", "headers": {"x y": MARK}}),
        relay.call("POST", "/v1/endpoints", {"url": f"{url}/x", "headers": {"x-y": f"{MARK}\r\n"}}),
        relay.call("GET", f"/v1/{MARK}?{MARK}={MARK}"),
        relay.call("GET", f"/v1/watches/{MARK}"),
        relay.call("GET", f"/v1/watches?status={MARK}&cursor={MARK}&limit={MARK}"),
        relay.call("GET", "/v1/watches", Authorization=f"Bearer rk_{MARK}"),
        relay.call("PUT", f"/v1/watches/{MARK}"),
        requests.post(f"{relay.url}/v1/watches", f'{{"{MARK}": ', headers=_auth(relay), timeout=10),
        requests.post(f"{relay.url}/hooks/vod", MARK, headers={"x-vod-signature": MARK}, timeout=10),
    ]
    assert [one.status_code for one in answers if not 400 <= one.status_code < 500] == []
    return [one.text for one in answers]


def _auth(relay: Relay) -> dict[str, str]:
    return {"Authorization": f"Bearer {relay.api_key}", "Content-Type": "application/json"}


def secrets_of_endpoints(relay: Relay) -> set[str]:
    """The endpoints' own secrets, as their owner may read them."""
    return {
        relay.call("GET", f"/v1/endpoints/{one['id']}/secret").json()["secret"]
        for one in relay.all("/v1/endpoints")
    }


def check_failures_happened(fleet: Fleet, outputs: Mapping[str, str]) -> None:
    """The failures that could reveal a secret did happen, and were logged."""
    classes = {"http_5xx", "http_4xx", "redirect", "timeout", "connect", "tls", "dns", "internal", None}
    assert fleet.errors().keys() == classes
    said = {json.loads(line)["event"] for line in outputs["dispatcher.log"].splitlines()}
    assert said >= {"attempt_ended", "endpoint_turned", "pass_failed"}
    assert {"web.log", "poller.log", "dispatcher.log"} <= outputs.keys()
