"""One delivery sent again by hand, and the statuses that deliveries read."""

import pytest

from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import US_PER_SECOND
from tests.support.care import Care, disable, ended, set_delivery
from tests.support.flow import LEASE


def test_every_status_that_is_shown_is_found_by_its_filter(care: Care) -> None:
    """Each state of an endpoint with a delivery of each state."""
    for state in ("active", "paused", "disabled", "deleted"):
        url = f"https://{state}.example.com/hook"
        for status in ("delivered", "failed", "cancelled"):
            ended(care.world, 1, DeliveryStatus(status), url)
        _, in_flight = care.world.enqueue(2, url)
        tests = [care.act(f"{care.path(url)}/test").json["id"] for _ in range(2)]
        lease = {"token": "t" * 32}
        set_delivery(care.world, in_flight, due_at=care.world.now + LEASE, **lease)
        set_delivery(care.world, tests[0], solo_at=care.world.now + LEASE, **lease)
        match state:
            case "paused":
                care.act(f"{care.path(url)}/pause")
            case "disabled":
                disable(care.world, url)
            case "deleted":
                values = {"deleted_at": care.world.now, "url_key": None, "ready_at": None}
                disable(care.world, url)
                care.world.set_endpoint(url, **values)
    shown = {item["id"]: item["status"] for item in care.api.get("/v1/deliveries?limit=100").json["data"]}
    assert len(shown) == 4 * 7
    for status in DeliveryStatus:
        assert set(care.ids(f"limit=100&status={status}")) == {
            delivery_id for delivery_id, its in shown.items() if its == status
        }
    counts = {status: list(shown.values()).count(status) for status in DeliveryStatus}
    assert counts == {"pending": 2 + 8 + 1, "held": 4, "delivered": 4, "failed": 4, "cancelled": 4 + 1}


@pytest.mark.parametrize("status", ["failed", "delivered", "cancelled"])
def test_an_ended_delivery_is_sent_again_with_the_same_id_and_a_fresh_schedule(
    care: Care, status: str
) -> None:
    (delivery_id,) = ended(care.world, 1, DeliveryStatus(status))
    got = care.act(f"/v1/deliveries/{delivery_id}/retry")
    assert (got.status, got.json["id"], got.json["status"]) == (202, delivery_id, "pending")
    assert care.world.delivery(delivery_id).retry_count == 0
    assert [claimed.id for claimed in care.world.claim().taken] == [delivery_id]


def test_a_pending_delivery_is_due_now_and_keeps_its_schedule(care: Care) -> None:
    (delivery_id,) = care.world.enqueue(1)
    set_delivery(
        care.world, delivery_id, due_at=care.world.now + 900 * US_PER_SECOND, retry_count=2, lost_count=1
    )
    assert care.act(f"/v1/deliveries/{delivery_id}/retry").status == 202
    row = care.world.delivery(delivery_id)
    assert (row.retry_count, row.lost_count) == (2, 1)
    assert [claimed.id for claimed in care.world.claim().taken] == [delivery_id]


def test_a_delivery_in_flight_or_held_or_cancelled_is_not_sent_again(care: Care) -> None:
    (delivery_id,) = care.world.enqueue(1)
    taken = care.world.claim().taken
    in_flight = care.act(f"/v1/deliveries/{delivery_id}/retry")
    assert (in_flight.status, "in flight" in in_flight.json["detail"]) == (409, True)
    care.world.record(taken, 500, ErrorClass.HTTP_5XX)
    care.act(f"{care.path()}/pause")
    held = care.act(f"/v1/deliveries/{delivery_id}/retry")
    assert (held.status, "/resume" in held.json["detail"]) == (409, True)
    care.api.delete(care.path())
    assert care.act(f"/v1/deliveries/{delivery_id}/retry").status == 409
    assert care.api.post(f"/v1/deliveries/msg_{'0' * 32}/retry").status == 404
