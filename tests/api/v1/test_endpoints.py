"""Endpoints over HTTP: creating, listing, changing and deleting."""

import base64
from typing import Any

from sqlalchemy import select, update

from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Endpoint, Watch
from relay.endpoints.sql import endpoint_moves
from tests.support.api import Caller

URL = "https://h.example.com/in"


def row_of(store: Store, endpoint_id: str) -> Any:
    return store.read(
        lambda tx: tx.execute(select(Endpoint.__table__).where(Endpoint.id == endpoint_id)).one()
    )


def test_a_new_endpoint_is_shown_once_with_its_secret(caller: Caller) -> None:
    got = caller.post("/v1/endpoints", {"url": URL, "description": "büro", "max_in_flight": 3})
    created = got.json
    assert got.status == 201
    assert got.headers["Location"] == f"/v1/endpoints/{created['id']}"
    secret = created.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert created == {
        "id": created["id"], "url": URL, "description": "büro", "headers": {}, "status": "active",
        "disabled_reason": None, "circuit": "closed", "failing_since": None, "next_probe_at": None,
        "last_error": None, "in_flight": 0, "max_in_flight": 3, "rate_per_second": None, "notices": False,
        "created_at": created["created_at"],
    }  # fmt: skip
    assert caller.get(f"/v1/endpoints/{created['id']}").json == created
    assert caller.get("/v1/endpoints").json["data"] == [created]
    assert caller.get(f"/v1/endpoints/{created['id']}/secret").json == {"secret": secret}


def test_endpoints_are_filtered_by_their_status(caller: Caller, other: Caller, store: Store) -> None:
    ids = [caller.post("/v1/endpoints", {"url": f"{URL}/{n}"}).json["id"] for n in range(6)]
    other.post(f"/v1/endpoints/{other.post('/v1/endpoints', {'url': URL}).json['id']}/pause")
    for paused in ids[:3]:
        assert caller.post(f"/v1/endpoints/{paused}/pause").status == 200
    caller.delete(f"/v1/endpoints/{ids[0]}")
    disabled = {"status": "disabled", "disabled_reason": "gone", "held_at": 1, "ready_at": None}
    store.write(lambda tx: tx.execute(update(Endpoint).where(Endpoint.id == ids[3]).values(disabled)))

    def shown(query: str) -> tuple[list[str], str | None]:
        page = caller.get(f"/v1/endpoints?{query}").json
        return [endpoint["id"] for endpoint in page["data"]], page["next_cursor"]

    assert shown("status=active") == ([ids[5], ids[4]], None)
    assert shown("status=disabled") == ([ids[3]], None)
    first, cursor = shown("status=paused&limit=1")
    assert (first, shown(f"status=paused&limit=1&cursor={cursor}")) == ([ids[2]], ([ids[1]], None))
    assert shown("limit=100")[0] == ids[:0:-1]
    for wrong in ("status=gone", "status=", "status=ACTIVE", "status=active&status=paused"):
        got = caller.get(f"/v1/endpoints?{wrong}")
        assert (got.status, got.pointers) == (422, ["/status"])


def test_custom_headers_are_sealed_at_rest_and_masked_when_read(caller: Caller, store: Store) -> None:
    got = caller.post(
        "/v1/endpoints", {"url": URL, "headers": {"Authorization": "Bearer s3cret", "X-A": "b"}}
    )
    assert got.json["headers"] == {"Authorization": "•••", "X-A": "•••"}
    assert b"s3cret" not in got.body
    assert "s3cret" not in row_of(store, got.json["id"]).headers_sealed


def test_a_url_that_is_taken_is_a_conflict(caller: Caller, other: Caller) -> None:
    assert caller.post("/v1/endpoints", {"url": URL}).status == 201
    assert caller.post("/v1/endpoints", {"url": "HTTPS://H.example.com:443/in"}).status == 409
    assert other.post("/v1/endpoints", {"url": URL}).status == 201
    found = caller.watch(callback_url="https://h.example.com/found").json["endpoint_id"]
    assert caller.post("/v1/endpoints", {"url": "https://h.example.com/found"}).status == 409
    assert caller.patch(f"/v1/endpoints/{found}", {"url": URL}).status == 409
    assert caller.get(f"/v1/endpoints/{found}").json["url"] == "https://h.example.com/found"


def test_a_patch_changes_what_it_names_and_nothing_else(caller: Caller, store: Store) -> None:
    created = caller.post(
        "/v1/endpoints", {"url": URL, "description": "a", "headers": {"X-A": "b"}, "rate_per_second": 2}
    ).json
    path = f"/v1/endpoints/{created['id']}"
    got = caller.patch(path, {"max_in_flight": 1})
    assert got.status == 200
    assert got.json == {**{k: v for k, v in created.items() if k != "secret"}, "max_in_flight": 1}
    assert row_of(store, created["id"]).concurrency_limit == 1
    cleared = caller.patch(path, {"description": None, "headers": None, "rate_per_second": None}).json
    assert (cleared["description"], cleared["headers"], cleared["rate_per_second"]) == (None, {}, None)
    assert caller.patch(path, {}).json == cleared
    assert caller.patch(path, {"max_in_flight": None}).status == 422


def test_a_new_url_starts_slowly_and_counts_for_the_watches_that_wait(caller: Caller, store: Store) -> None:
    watch = caller.watch(callback_url=f"{URL}?x=1").json
    endpoint_id = watch["endpoint_id"]
    warmed_up = {
        "warmed_up": 1,
        "concurrency_limit": 10,
        "failure_streak": 1,
        "failing_since": 5,
        "last_error": "dns: no",
    }
    store.write(lambda tx: tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(warmed_up)))
    caller.patch(f"/v1/endpoints/{endpoint_id}", {"url": URL})
    assert row_of(store, endpoint_id).warmed_up == 1
    got = caller.patch(f"/v1/endpoints/{endpoint_id}", {"url": "https://new.example.com/"})
    assert (got.status, got.json["failing_since"], got.json["last_error"]) == (200, None, None)
    row = row_of(store, endpoint_id)
    assert (row.warmed_up, row.concurrency_limit, row.failure_streak) == (0, 2, 0)
    assert caller.get(f"/v1/watches/{watch['id']}").json["callback_url"] == "https://new.example.com/?x=1"
    assert caller.watch(callback_url=URL).json["endpoint_id"] != endpoint_id


def test_deleting_an_endpoint_cancels_what_waits_and_frees_its_url(caller: Caller, store: Store) -> None:
    watch = caller.watch(callback_url=URL).json
    path = f"/v1/endpoints/{watch['endpoint_id']}"
    gone = caller.delete(path)
    assert (gone.status, gone.body) == (204, b"")
    assert caller.get(f"/v1/watches/{watch['id']}").json["status"] == "cancelled"
    assert [caller.get(path).status, caller.delete(path).status, caller.patch(path, {}).status] == [404] * 3
    assert caller.get(f"{path}/secret").status == 404
    assert caller.post(f"{path}/secret/rotate").status == 404
    assert caller.get("/v1/endpoints").json["data"] == []
    assert caller.watch(endpoint_id=watch["endpoint_id"], callback_url=None).status == 422
    assert caller.watch(callback_url=URL).json["endpoint_id"] != watch["endpoint_id"]
    assert row_of(store, watch["endpoint_id"]).ready_at is None


def test_deleting_an_endpoint_with_many_watches_leaves_none_waiting(caller: Caller, store: Store) -> None:
    watches = [{"job_id": f"j{index}", "callback_url": URL} for index in range(1000)]
    endpoint_id = caller.post("/v1/watches/batch", {"watches": watches}).json["data"][0]["endpoint_id"]
    assert caller.delete(f"/v1/endpoints/{endpoint_id}").status == 204
    statuses = store.read(
        lambda tx: set(tx.scalars(select(Watch.status).where(Watch.endpoint_id == endpoint_id)))
    )
    assert statuses == {"cancelled"}


def test_a_rate_that_was_raised_holds_nothing_back(caller: Caller, store: Store) -> None:
    created = caller.post("/v1/endpoints", {"url": URL, "rate_per_second": 0.01}).json
    later = Clock(store).now() + 90_000_000

    def hold_back(tx: Tx) -> None:
        tx.execute(update(Endpoint).where(Endpoint.id == created["id"]).values(not_before=later))
        endpoint_moves.recompute(tx, [created["id"]], later)

    store.write(hold_back)
    caller.patch(f"/v1/endpoints/{created['id']}", {"rate_per_second": 100})
    assert row_of(store, created["id"]).not_before == 0
