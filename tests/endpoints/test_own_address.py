"""Forbidden addresses: the relay's own, and those that are no longer allowed (S1, S2, S3)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.sandbox.receiver import Receiver
from tests.support.dispatch import Fleet, running_fleet
from tests.support.dns import NameServer
from tests.support.processes import Relay, wait_until

pytestmark = pytest.mark.processes

PRIVATE = "127.0.0.9"  # what is allowed here; the relay itself listens at 127.0.0.1
SCRIPT = {"own.test": ["127.0.0.1"], "other.test": [PRIVATE], "both.test": [PRIVATE, "127.0.0.1"]}


@pytest.fixture
def fleet(own_database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with NameServer(SCRIPT) as names:
        settings = {"RELAY_CALLBACK_ALLOW": f"{PRIVATE}/32", "RELAY_DNS_SERVERS": names.address}
        with running_fleet(own_database_url, tmp_path, RELAY_RETRY_SCHEDULE="600", **settings) as fleet:
            yield fleet


def make_endpoint(relay: Relay, url: str) -> str:
    made = relay.call("POST", "/v1/endpoints", {"url": url})
    assert made.status_code == 201, made.text
    endpoint_id: str = made.json()["id"]
    return endpoint_id


def first_attempt(relay: Relay, delivery_id: str) -> dict[str, Any]:
    """The first attempt of a delivery, once it has been made."""
    attempts: list[dict[str, Any]] = wait_until(
        lambda: relay.call("GET", f"/v1/deliveries/{delivery_id}").json()["attempts"], 20, "it is tried"
    )
    return attempts[0]


def test_S1_S2_S3_the_own_address_is_refused_when_saved_tested_and_sent(fleet: Fleet) -> None:
    relay = fleet.relay()
    relay.start("web", "dispatcher")
    own = f"http://127.0.0.1:{relay.port}/v1/watches"
    for body in ({"url": own}, {"url": f"http://[::ffff:127.0.0.1]:{relay.port}/"}):
        refused = relay.call("POST", "/v1/endpoints", body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/url")
    watch = relay.call("POST", "/v1/watches", {"job_id": "j", "callback_url": own})
    assert (watch.status_code, watch.json()["errors"][0]["pointer"]) == (422, "/callback_url")
    with Receiver(host=PRIVATE) as receiver:
        port = receiver.url.rpartition(":")[2]
        urls = {
            "own.test": f"http://own.test:{relay.port}/v1/watches",
            "both.test": f"http://both.test:{port}/",
            "other.test": f"http://other.test:{port}/",
        }
        errors = {name: errors_of_both(fleet, relay, url) for name, url in urls.items()}
    blocked = ("blocked_address", "blocked_address")
    assert errors == {"own.test": blocked, "both.test": blocked, "other.test": (None, None)}


def errors_of_both(fleet: Fleet, relay: Relay, url: str) -> tuple[str | None, str | None]:
    """What came of a test of this endpoint, and of a real delivery to it."""
    tested = relay.call("POST", f"/v1/endpoints/{make_endpoint(relay, url)}/test")
    assert tested.status_code == 202, tested.text
    (sent,) = fleet.enqueue([url])
    return first_attempt(relay, tested.json()["id"])["error"], first_attempt(relay, sent)["error"]


def test_an_endpoint_saved_while_more_schemes_were_allowed_is_refused_by_a_dispatcher(fleet: Fleet) -> None:
    with Receiver(host=PRIVATE) as receiver:
        (sent,) = fleet.enqueue([f"{receiver.url}/hook"])
        relay = fleet.relay(RELAY_CALLBACK_SCHEMES="https")
        relay.start("web", "dispatcher")
        attempt = first_attempt(relay, sent)
        assert receiver.count == 0
    assert (attempt["error"], attempt["detail"]) == ("blocked_address", "the URL must start with https://")
