"""Pausing, resuming, testing and watching over endpoints, over HTTP."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import update

from relay.common.states import DeliveryStatus, DisabledReason, ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.db.tables import Delivery, Endpoint
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoint_changes, endpoint_health, endpoint_moves
from relay.subscribers.encryption import Encryption
from tests.support.api import new_caller
from tests.support.care import HOOK, Care, ended
from tests.support.flow import LEASE, World

STATUSES = tuple(DeliveryStatus)


def path_of(care: Care, url: str = HOOK) -> str:
    return f"/v1/endpoints/{care.endpoint(url)}"


def disable(world: World, url: str = HOOK, reason: DisabledReason = DisabledReason.GONE) -> None:
    world.store.write(endpoint_moves.disable, world.endpoint(url).id, reason, world.now)


def open_circuit(world: World, url: str = HOOK) -> None:
    """As a run of failures leaves it."""
    world.set_endpoint(
        url,
        opened_at=world.now,
        open_until=world.now + 600 * US_PER_SECOND,
        failing_since=world.now,
        failure_streak=10,
        concurrency_limit=1,
        ready_at=world.now + 600 * US_PER_SECOND,
        last_error="timeout: it did not answer",
    )


# Pause and resume.


def test_what_comes_for_a_paused_endpoint_is_held_until_it_is_resumed(care: Care) -> None:
    before = care.world.enqueue(1)
    paused = care.act(f"{path_of(care)}/pause")
    assert (paused.status, paused.json["status"]) == (200, "paused")
    after = care.world.enqueue(1)
    assert care.world.claim().taken == []
    for one in before + after:
        assert (care.shown(one)["status"], care.shown(one)["next_attempt_at"]) == ("held", None)
    assert care.ids("status=held") == [*after, *before]
    resumed = care.act(f"{path_of(care)}/resume")
    assert (resumed.status, resumed.json["status"]) == (200, "active")
    assert care.ids("status=held") == []
    assert [one.id for one in care.world.claim().taken] == before + after


def test_what_is_in_flight_when_an_endpoint_is_paused_finishes(care: Care) -> None:
    (one,) = care.world.enqueue(1)
    taken = care.world.claim().taken
    assert care.act(f"{path_of(care)}/pause").json["in_flight"] == 1
    care.world.record(taken)
    assert care.shown(one)["status"] == "delivered"
    assert care.api.get(path_of(care)).json["in_flight"] == 0


def test_pausing_and_resuming_twice_changes_nothing_more(care: Care) -> None:
    care.world.enqueue(1)
    first = care.act(f"{path_of(care)}/pause").json
    held_at = care.world.endpoint().held_at
    assert care.act(f"{path_of(care)}/pause").json == first
    assert care.world.endpoint().held_at == held_at
    active = care.act(f"{path_of(care)}/resume").json
    ready_at = care.world.endpoint().ready_at
    assert care.act(f"{path_of(care)}/resume").json == active
    assert care.world.endpoint().ready_at == ready_at


@pytest.mark.parametrize("reason", list(DisabledReason))
def test_a_disabled_endpoint_says_why_and_resuming_enables_it(care: Care, reason: DisabledReason) -> None:
    (one,) = care.world.enqueue(1)
    disable(care.world, reason=reason)
    shown = care.api.get(path_of(care)).json
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", reason)
    assert care.shown(one)["status"] == "held"
    assert care.act(f"{path_of(care)}/pause").json["status"] == "disabled"
    resumed = care.act(f"{path_of(care)}/resume").json
    assert (resumed["status"], resumed["disabled_reason"]) == ("active", None)
    assert care.world.endpoint().notice_at is None
    assert len(care.world.claim().taken) == 1


def turn(world: World, verb: Callable[[Tx, str, str, Micros], None]) -> None:
    """Pause or resume by the world's own clock."""
    world.store.write(verb, world.subscriber_id, world.endpoint().id, world.now)


def test_held_deliveries_flow_oldest_first_at_the_endpoints_own_pace(care: Care) -> None:
    world = care.world
    held = world.enqueue(1)
    turn(world, endpoint_changes.pause)
    for _ in range(6):
        world.later(1)
        held += world.enqueue(1)
    turn(world, endpoint_changes.resume)
    sent = []
    seen = []
    while taken := world.claim().taken:
        seen.append(len(taken))
        sent += [one.id for one in taken]
        world.later(1)
        world.record(taken)
    assert sent == held
    assert seen == [2, 4, 1]


def test_what_comes_after_the_resume_gets_every_second_slot(care: Care) -> None:
    world = care.world
    backlog = world.enqueue(20)
    turn(world, endpoint_changes.pause)
    turn(world, endpoint_changes.resume)
    world.later(1)
    fresh = world.enqueue(20)
    world.set_endpoint(HOOK, concurrency_limit=10)
    taken = {one.id for one in world.claim().taken}
    assert (len(taken & set(backlog)), len(taken & set(fresh))) == (5, 5)


# The circuit.


def test_an_open_circuit_is_shown_with_its_next_probe(care: Care) -> None:
    care.world.enqueue(1)
    closed = care.api.get(path_of(care)).json
    assert (closed["circuit"], closed["next_probe_at"]) == ("closed", None)
    open_circuit(care.world)
    shown = care.api.get(path_of(care)).json
    assert (shown["circuit"], shown["last_error"]) == ("open", "timeout: it did not answer")
    assert shown["failing_since"] < shown["next_probe_at"]
    assert care.act(f"{path_of(care)}/pause").json["next_probe_at"] is None


@pytest.mark.parametrize("mended", ["resume", "another url"])
def test_whoever_says_that_it_is_mended_closes_the_circuit(care: Care, mended: str) -> None:
    care.world.enqueue(3)
    open_circuit(care.world)
    path = path_of(care)
    if mended == "resume":
        shown = care.act(f"{path}/resume").json
    else:
        shown = care.api.patch(path, {"url": "https://mended.example.com/hook"}).json
    assert (shown["circuit"], shown["failing_since"], shown["next_probe_at"]) == ("closed", None, None)
    care.world.now += 60 * US_PER_SECOND
    assert len(care.world.claim().taken) == 2


# Tests.


@pytest.mark.parametrize("state", ["active", "paused", "disabled", "open"])
def test_a_test_is_sent_whatever_the_endpoints_state_and_is_no_sign_of_health(care: Care, state: str) -> None:
    watch = care.world.watch()
    match state:
        case "paused":
            care.act(f"{path_of(care)}/pause")
        case "disabled":
            disable(care.world)
        case "open":
            open_circuit(care.world)
    before = care.world.endpoint()
    got = care.act(f"{path_of(care)}/test")
    made = got.json
    assert (got.status, got.headers["Location"]) == (202, f"/v1/deliveries/{made['id']}")
    assert (made["event"], made["status"], made["watch_id"]) == ("relay.test", "pending", None)
    assert made["next_attempt_at"] == made["created_at"]
    (claimed,) = care.world.claim().taken
    assert claimed.id == made["id"]
    assert json.loads(str(claimed.content))["endpoint_id"] == before.id
    assert care.shown(made["id"])["next_attempt_at"] is None
    care.world.record([claimed], 500, ErrorClass.HTTP_5XX)
    shown = care.shown(made["id"])
    assert (shown["status"], shown["last_error"]) == ("failed", "http_5xx: it did not work")
    assert len(shown["attempts"]) == 1
    after = care.world.endpoint()
    assert (after.status, after.last_error) == (before.status, before.last_error)
    assert endpoint_health.circuit_of(after) == endpoint_health.circuit_of(before)
    assert care.api.get(f"/v1/watches/{watch}").json["status"] == "waiting"


def test_a_test_is_sent_once_and_not_again_by_hand(care: Care) -> None:
    care.world.watch()
    made = care.act(f"{path_of(care)}/test").json
    care.world.record(care.world.claim().taken)
    assert care.shown(made["id"])["status"] == "delivered"
    got = care.act(f"/v1/deliveries/{made['id']}/retry")
    assert (got.status, "/test" in got.json["detail"]) == (409, True)
    orders = care.act("/v1/deliveries/retry", {"status": "delivered"})
    assert orders.json["matched"] == 0


def test_only_so_many_tests_are_under_way_at_once(care: Care) -> None:
    care.world.watch()
    statuses = [care.act(f"{path_of(care)}/test").status for _ in range(deliveries.TESTS + 1)]
    assert statuses == [202] * deliveries.TESTS + [429]
    care.world.record(care.world.claim().taken)
    assert care.act(f"{path_of(care)}/test").status == 202


def test_a_test_with_an_idempotency_key_is_sent_once(care: Care) -> None:
    care.world.watch()
    first, second = (care.api.post(f"{path_of(care)}/test", key="k") for _ in range(2))
    assert first.json == second.json
    assert first.headers["Location"] == second.headers["Location"]
    assert care.ids("") == [first.json["id"]]


def test_deleting_an_endpoint_cancels_its_tests(care: Care) -> None:
    care.world.watch()
    path = path_of(care)
    in_flight = care.act(f"{path}/test").json["id"]
    (taken,) = care.world.claim().taken
    waiting = care.act(f"{path}/test").json["id"]
    assert care.api.delete(path).status == 204
    assert care.shown(waiting)["status"] == "cancelled"
    care.world.record([taken])
    assert care.shown(in_flight)["status"] == "delivered"
    assert care.world.claim().taken == []


# What is shown, and who may.


def test_every_status_that_is_shown_is_found_by_its_filter(care: Care) -> None:
    """Every state of an endpoint with a row of every state: the list by a status holds what shows it."""
    for state in ("active", "paused", "disabled", "deleted"):
        url = f"https://{state}.example.com/hook"
        for status in ("delivered", "failed", "cancelled"):
            ended(care.world, 1, DeliveryStatus(status), url)
        _, in_flight = care.world.enqueue(2, url)
        tests = [care.act(f"{path_of(care, url)}/test").json["id"] for _ in range(2)]
        lease = {"token": "t" * 32}
        mark(care.world, in_flight, due_at=care.world.now + LEASE, **lease)
        mark(care.world, tests[0], solo_at=care.world.now + LEASE, **lease)
        match state:
            case "paused":
                care.act(f"{path_of(care, url)}/pause")
            case "disabled":
                disable(care.world, url)
            case "deleted":
                values = {"deleted_at": care.world.now, "url_key": None, "ready_at": None}
                disable(care.world, url)
                care.world.set_endpoint(url, **values)
    shown = {one["id"]: one["status"] for one in care.api.get("/v1/deliveries?limit=100").json["data"]}
    assert len(shown) == 4 * 7
    for status in STATUSES:
        assert set(care.ids(f"limit=100&status={status}")) == {
            one for one, its in shown.items() if its == status
        }
    counts = {status: list(shown.values()).count(status) for status in STATUSES}
    assert counts == {"pending": 2 + 8 + 1, "held": 4, "delivered": 4, "failed": 4, "cancelled": 4 + 1}


def mark(world: World, delivery_id: str, **values: object) -> None:
    world.store.write(
        lambda tx: tx.execute(update(Delivery).where(Delivery.id == delivery_id).values(values))
    )


@pytest.mark.parametrize("verb", ["pause", "resume", "test"])
def test_only_its_owner_may_and_nothing_is_to_be_said(care: Care, encryption: Encryption, verb: str) -> None:
    care.world.enqueue(1)
    path = f"{path_of(care)}/{verb}"
    other = new_caller(care.api.port, care.world.store, encryption, care.world.new_id)
    assert other.post(path).status == 404
    assert care.api.post(f"/v1/endpoints/ep_nothing/{verb}").status == 404
    assert care.api.post(f"/v1/endpoints/ep_{'0' * 32}/{verb}").status == 404
    refused = care.api.post(path, {"for": "fun"})
    assert (refused.status, refused.pointers) == (422, [""])
    assert care.api.post(path, {}).status in {200, 202}


# Notices, as a member; test_notices.py tells what comes of it.


def test_an_endpoint_is_named_for_notices_and_no_longer(care: Care) -> None:
    made = care.api.post("/v1/endpoints", {"url": HOOK, "notices": True}).json
    assert made["notices"] is True
    path = f"/v1/endpoints/{made['id']}"
    assert care.api.patch(path, {"notices": False}).json["notices"] is False
    assert care.api.patch(path, {"description": "x"}).json["notices"] is False
    for wrong in (None, 1, "true"):
        got = care.api.patch(path, {"notices": wrong})
        assert (got.status, got.pointers) == (422, ["/notices"])


def test_a_found_endpoint_hears_no_notices(care: Care) -> None:
    care.world.watch()
    assert care.world.rows(Endpoint)[0].notices == 0


# One delivery again, by hand.


@pytest.mark.parametrize("status", ["failed", "delivered", "cancelled"])
def test_what_has_ended_is_sent_again_with_the_same_id_and_a_fresh_schedule(care: Care, status: str) -> None:
    (one,) = ended(care.world, 1, DeliveryStatus(status))
    got = care.act(f"/v1/deliveries/{one}/retry")
    assert (got.status, got.json["id"], got.json["status"]) == (202, one, "pending")
    assert care.world.delivery(one).retry_count == 0
    assert [claimed.id for claimed in care.world.claim().taken] == [one]


def test_what_waits_is_due_now_and_keeps_its_schedule(care: Care) -> None:
    (one,) = care.world.enqueue(1)
    mark(care.world, one, due_at=care.world.now + 900 * US_PER_SECOND, retry_count=2, lost_count=1)
    assert care.act(f"/v1/deliveries/{one}/retry").status == 202
    row = care.world.delivery(one)
    assert (row.retry_count, row.lost_count) == (2, 1)
    assert [claimed.id for claimed in care.world.claim().taken] == [one]


def test_what_is_in_flight_or_held_or_gone_is_not_sent_again(care: Care) -> None:
    (one,) = care.world.enqueue(1)
    taken = care.world.claim().taken
    in_flight = care.act(f"/v1/deliveries/{one}/retry")
    assert (in_flight.status, "in flight" in in_flight.json["detail"]) == (409, True)
    care.world.record(taken, 500, ErrorClass.HTTP_5XX)
    care.act(f"{path_of(care)}/pause")
    held = care.act(f"/v1/deliveries/{one}/retry")
    assert (held.status, "/resume" in held.json["detail"]) == (409, True)
    care.api.delete(path_of(care))
    assert care.act(f"/v1/deliveries/{one}/retry").status == 409
    assert care.api.post(f"/v1/deliveries/msg_{'0' * 32}/retry").status == 404
