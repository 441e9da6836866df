"""`relay.test` over HTTP: sent once, whatever the endpoint's state."""

import json

import pytest

from relay.common.states import ErrorClass
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoint_health
from tests.support.care import Care, disable, open_circuit


@pytest.mark.parametrize("state", ["active", "paused", "disabled", "open"])
def test_a_test_is_sent_in_any_state_of_its_endpoint_and_changes_no_health(care: Care, state: str) -> None:
    watch = care.world.watch()
    match state:
        case "paused":
            care.act(f"{care.path()}/pause")
        case "disabled":
            disable(care.world)
        case "open":
            open_circuit(care.world)
    before = care.world.endpoint()
    got = care.act(f"{care.path()}/test")
    delivery = got.json
    assert (got.status, got.headers["Location"]) == (202, f"/v1/deliveries/{delivery['id']}")
    assert (delivery["event"], delivery["status"], delivery["watch_id"]) == ("relay.test", "pending", None)
    assert delivery["next_attempt_at"] == delivery["created_at"]
    (claimed,) = care.world.claim().taken
    assert claimed.id == delivery["id"]
    assert json.loads(str(claimed.content))["endpoint_id"] == before.id
    assert care.shown(delivery["id"])["next_attempt_at"] is None
    care.world.record([claimed], 500, ErrorClass.HTTP_5XX)
    shown = care.shown(delivery["id"])
    assert (shown["status"], shown["last_error"]) == ("failed", "http_5xx: it did not work")
    assert len(shown["attempts"]) == 1
    after = care.world.endpoint()
    assert (after.status, after.last_error) == (before.status, before.last_error)
    assert endpoint_health.circuit_of(after) == endpoint_health.circuit_of(before)
    assert care.api.get(f"/v1/watches/{watch}").json["status"] == "waiting"


def test_a_test_is_sent_once_and_not_again_by_hand(care: Care) -> None:
    care.world.watch()
    delivery = care.act(f"{care.path()}/test").json
    care.world.record(care.world.claim().taken)
    assert care.shown(delivery["id"])["status"] == "delivered"
    got = care.act(f"/v1/deliveries/{delivery['id']}/retry")
    assert (got.status, "/test" in got.json["detail"]) == (409, True)
    orders = care.act("/v1/deliveries/retry", {"status": "delivered"})
    assert orders.json["matched"] == 0


def test_a_limit_of_tests_is_under_way_at_once(care: Care) -> None:
    care.world.watch()
    statuses = [care.act(f"{care.path()}/test").status for _ in range(deliveries.TESTS + 1)]
    assert statuses == [202] * deliveries.TESTS + [429]
    care.world.record(care.world.claim().taken)
    assert care.act(f"{care.path()}/test").status == 202


def test_a_test_with_an_idempotency_key_is_sent_once(care: Care) -> None:
    care.world.watch()
    first, second = (care.api.post(f"{care.path()}/test", key="k") for _ in range(2))
    assert first.json == second.json
    assert first.headers["Location"] == second.headers["Location"]
    assert care.ids("") == [first.json["id"]]


def test_deleting_an_endpoint_cancels_its_tests(care: Care) -> None:
    care.world.watch()
    path = care.path()
    in_flight = care.act(f"{path}/test").json["id"]
    (taken,) = care.world.claim().taken
    waiting = care.act(f"{path}/test").json["id"]
    assert care.api.delete(path).status == 204
    assert care.shown(waiting)["status"] == "cancelled"
    care.world.record([taken])
    assert care.shown(in_flight)["status"] == "delivered"
    assert care.world.claim().taken == []
