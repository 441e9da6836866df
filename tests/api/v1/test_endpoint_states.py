"""Pausing and resuming endpoints over HTTP, and how their circuit is shown."""

from collections.abc import Callable

import pytest

from relay.common.states import DisabledReason
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.db.tables import Endpoint
from relay.endpoints.sql import endpoint_changes
from relay.subscribers.encryption import Encryption
from tests.support.api import new_caller
from tests.support.care import HOOK, Care, disable, open_circuit
from tests.support.flow import World


def test_deliveries_of_a_paused_endpoint_are_held_until_it_is_resumed(care: Care) -> None:
    before = care.world.enqueue(1)
    paused = care.act(f"{care.path()}/pause")
    assert (paused.status, paused.json["status"]) == (200, "paused")
    after = care.world.enqueue(1)
    assert care.world.claim().taken == []
    for delivery_id in before + after:
        shown = care.shown(delivery_id)
        assert (shown["status"], shown["next_attempt_at"]) == ("held", None)
    assert care.ids("status=held") == [*after, *before]
    resumed = care.act(f"{care.path()}/resume")
    assert (resumed.status, resumed.json["status"]) == (200, "active")
    assert care.ids("status=held") == []
    assert [claimed.id for claimed in care.world.claim().taken] == before + after


def test_an_attempt_in_flight_when_its_endpoint_is_paused_finishes(care: Care) -> None:
    (delivery_id,) = care.world.enqueue(1)
    taken = care.world.claim().taken
    assert care.act(f"{care.path()}/pause").json["in_flight"] == 1
    care.world.record(taken)
    assert care.shown(delivery_id)["status"] == "delivered"
    assert care.api.get(care.path()).json["in_flight"] == 0


def test_pausing_and_resuming_twice_changes_nothing_more(care: Care) -> None:
    care.world.enqueue(1)
    first = care.act(f"{care.path()}/pause").json
    held_at = care.world.endpoint().held_at
    assert care.act(f"{care.path()}/pause").json == first
    assert care.world.endpoint().held_at == held_at
    active = care.act(f"{care.path()}/resume").json
    ready_at = care.world.endpoint().ready_at
    assert care.act(f"{care.path()}/resume").json == active
    assert care.world.endpoint().ready_at == ready_at


@pytest.mark.parametrize("reason", list(DisabledReason))
def test_a_disabled_endpoint_says_why_and_resuming_enables_it(care: Care, reason: DisabledReason) -> None:
    (delivery_id,) = care.world.enqueue(1)
    disable(care.world, reason=reason)
    shown = care.api.get(care.path()).json
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", reason)
    assert care.shown(delivery_id)["status"] == "held"
    assert care.act(f"{care.path()}/pause").json["status"] == "disabled"
    resumed = care.act(f"{care.path()}/resume").json
    assert (resumed["status"], resumed["disabled_reason"]) == ("active", None)
    assert care.world.endpoint().notice_at is None
    assert len(care.world.claim().taken) == 1


def change(world: World, state_change: Callable[[Tx, str, str, Micros], None]) -> None:
    """Pause or resume by the world's own clock."""
    world.store.write(state_change, world.subscriber_id, world.endpoint().id, world.now)


def test_held_deliveries_go_oldest_first_as_the_concurrency_limit_grows(care: Care) -> None:
    world = care.world
    held = world.enqueue(1)
    change(world, endpoint_changes.pause)
    for _ in range(6):
        world.later(1)
        held += world.enqueue(1)
    change(world, endpoint_changes.resume)
    sent = []
    batches = []
    while taken := world.claim().taken:
        batches.append(len(taken))
        sent += [claimed.id for claimed in taken]
        world.later(1)
        world.record(taken)
    assert sent == held
    assert batches == [2, 4, 1]


def test_new_deliveries_after_a_resume_get_every_second_slot(care: Care) -> None:
    world = care.world
    backlog = world.enqueue(20)
    change(world, endpoint_changes.pause)
    change(world, endpoint_changes.resume)
    world.later(1)
    fresh = world.enqueue(20)
    world.set_endpoint(HOOK, concurrency_limit=10)
    taken = {claimed.id for claimed in world.claim().taken}
    assert (len(taken & set(backlog)), len(taken & set(fresh))) == (5, 5)


def test_an_open_circuit_is_shown_with_its_next_probe(care: Care) -> None:
    care.world.enqueue(1)
    closed = care.api.get(care.path()).json
    assert (closed["circuit"], closed["next_probe_at"]) == ("closed", None)
    open_circuit(care.world)
    shown = care.api.get(care.path()).json
    assert (shown["circuit"], shown["last_error"]) == ("open", "timeout: it did not answer")
    assert shown["failing_since"] < shown["next_probe_at"]
    assert care.act(f"{care.path()}/pause").json["next_probe_at"] is None


@pytest.mark.parametrize("mended", ["resume", "another url"])
def test_a_resume_and_another_url_close_the_circuit(care: Care, mended: str) -> None:
    care.world.enqueue(3)
    open_circuit(care.world)
    path = care.path()
    if mended == "resume":
        shown = care.act(f"{path}/resume").json
    else:
        shown = care.api.patch(path, {"url": "https://mended.example.com/hook"}).json
    assert (shown["circuit"], shown["failing_since"], shown["next_probe_at"]) == ("closed", None, None)
    care.world.now += 60 * US_PER_SECOND
    assert len(care.world.claim().taken) == 2


@pytest.mark.parametrize("verb", ["pause", "resume", "test"])
def test_only_an_endpoints_owner_may_change_its_state_and_the_body_is_empty(
    care: Care, encryption: Encryption, verb: str
) -> None:
    care.world.enqueue(1)
    path = f"{care.path()}/{verb}"
    other = new_caller(care.api.port, care.world.store, encryption, care.world.new_id)
    assert other.post(path).status == 404
    assert care.api.post(f"/v1/endpoints/ep_nothing/{verb}").status == 404
    assert care.api.post(f"/v1/endpoints/ep_{'0' * 32}/{verb}").status == 404
    refused = care.api.post(path, {"for": "fun"})
    assert (refused.status, refused.pointers) == (422, [""])
    assert care.api.post(path, {}).status in {200, 202}


def test_notices_are_turned_on_and_off(care: Care) -> None:
    created = care.api.post("/v1/endpoints", {"url": HOOK, "notices": True}).json
    assert created["notices"] is True
    path = f"/v1/endpoints/{created['id']}"
    assert care.api.patch(path, {"notices": False}).json["notices"] is False
    assert care.api.patch(path, {"description": "x"}).json["notices"] is False
    for wrong in (None, 1, "true"):
        got = care.api.patch(path, {"notices": wrong})
        assert (got.status, got.pointers) == (422, ["/notices"])


def test_an_endpoint_made_from_a_callback_url_gets_no_notices(care: Care) -> None:
    care.world.watch()
    assert care.world.rows(Endpoint)[0].notices == 0
