"""Endpoints and signing secrets over HTTP."""

import base64
from typing import Any

import pytest
from sqlalchemy import select, update

from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Endpoint, SigningSecret, Watch
from relay.endpoints.sql import endpoint_moves
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets
from tests.support.api import Caller

URL = "https://h.example.com/in"


def row_of(store: Store, endpoint_id: str) -> Any:
    return store.read(
        lambda tx: tx.execute(select(Endpoint.__table__).where(Endpoint.id == endpoint_id)).one()
    )


def signing_texts(store: Store, encryption: Encryption, endpoint_id: str, later: float = 0) -> list[str]:
    """The secrets that sign for an endpoint, `later` seconds from now, newest first."""
    now = Clock(store).now() + round(later * 1_000_000)
    found = store.read(secrets.signing, [endpoint_id], now)[endpoint_id]
    return [encryption.open(one.id, one.text) for one in found]


def test_a_new_endpoint_is_shown_once_with_its_secret(caller: Caller) -> None:
    got = caller.post("/v1/endpoints", {"url": URL, "description": "büro", "max_in_flight": 3})
    made = got.json
    assert got.status == 201
    assert got.headers["Location"] == f"/v1/endpoints/{made['id']}"
    secret = made.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert made == {
        "id": made["id"], "url": URL, "description": "büro", "headers": {}, "status": "active",
        "disabled_reason": None, "circuit": "closed", "failing_since": None, "next_probe_at": None,
        "last_error": None, "in_flight": 0, "max_in_flight": 3, "rate_per_second": None, "notices": False,
        "created_at": made["created_at"],
    }  # fmt: skip
    assert caller.get(f"/v1/endpoints/{made['id']}").json == made
    assert caller.get("/v1/endpoints").json["data"] == [made]
    assert caller.get(f"/v1/endpoints/{made['id']}/secret").json == {"secret": secret}


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
        return [one["id"] for one in page["data"]], page["next_cursor"]

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


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"url": "https://h.example.com/in?a=b"}, "/url"),
        ({"url": "https://h.example.com/in?"}, "/url"),
        ({"url": "https://10.1.2.3/"}, "/url"),
        ({"url": None}, "/url"),
        ({"description": "x" * 501}, "/description"),
        ({"description": "a\0b"}, "/description"),
        ({"description": "a\nb"}, "/description"),
        ({"description": 5}, "/description"),
        ({"max_in_flight": 0}, "/max_in_flight"),
        ({"max_in_flight": 1001}, "/max_in_flight"),
        ({"max_in_flight": 2.0}, "/max_in_flight"),
        ({"rate_per_second": 0}, "/rate_per_second"),
        ({"rate_per_second": 10_001}, "/rate_per_second"),
        ({"rate_per_second": 10**300}, "/rate_per_second"),
        ({"rate_per_second": "5"}, "/rate_per_second"),
        ({"headers": []}, "/headers"),
        ({"secret": "whsec_mine"}, ""),
    ],
)
def test_a_wrong_member_is_refused_with_its_pointer(
    caller: Caller, change: dict[str, Any], pointer: str
) -> None:
    got = caller.post("/v1/endpoints", {"url": URL} | change)
    assert (got.status, got.pointers) == (422, [pointer])
    made = caller.post("/v1/endpoints", {"url": URL}).json
    got = caller.patch(f"/v1/endpoints/{made['id']}", change)
    assert (got.status, got.pointers) == (422, [pointer])


@pytest.mark.parametrize(
    "headers",
    [
        *({name: "v"} for name in ("", "Zebra Name", "Zebra\r", "Zebra\n", "Zebra\0", "Zebra:", "Zebrä")),
        *(
            {"Zebra": value}
            for value in ("", "Tiger\r\nX: y", "Tiger\n", "Tiger\0", " Tiger", "Tiger ", "Tigeř")
        ),
        *(
            {name: "v"}
            for name in ("Host", "content-LENGTH", "Transfer-Encoding", "Connection", "Webhook-Zebra")
        ),
        *({name: "v"} for name in ("Content-Type", "User-Agent", "Expect", "TE", "Upgrade", "Keep-Alive")),
        {"Proxy-Authorization": "v"},
        {"Zebra": 5},
        {"Zebra": None},
        {"Zebra": ["Tiger"]},
        {"Zebra": "Tiger", "zebra": "Tiger"},
        {f"Zebra-{index}": "v" for index in range(21)},
        {"Zebra": "T" * 4092},
    ],
)
def test_K1_headers_that_could_break_a_request_are_refused_when_saved(
    caller: Caller, headers: dict[str, Any]
) -> None:
    got = caller.post("/v1/endpoints", {"url": URL, "headers": headers})
    assert (got.status, got.pointers) == (422, ["/headers"])
    assert b"Zebr" not in got.body
    assert b"Tige" not in got.body


def test_K1_headers_that_are_fine_are_taken(caller: Caller) -> None:
    headers = {"Authorization": "Bearer a:b c", "X-Latin": "\xe9\xa0\xe9", "x": "T" * 4000}
    assert caller.post("/v1/endpoints", {"url": URL, "headers": headers}).status == 201


def test_a_patch_changes_what_it_names_and_nothing_else(caller: Caller, store: Store) -> None:
    made = caller.post(
        "/v1/endpoints", {"url": URL, "description": "a", "headers": {"X-A": "b"}, "rate_per_second": 2}
    ).json
    path = f"/v1/endpoints/{made['id']}"
    got = caller.patch(path, {"max_in_flight": 1})
    assert got.status == 200
    assert got.json == {**{k: v for k, v in made.items() if k != "secret"}, "max_in_flight": 1}
    assert row_of(store, made["id"]).concurrency_limit == 1
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
    made = caller.post("/v1/watches/batch", {"watches": watches}).json["data"]
    assert caller.delete(f"/v1/endpoints/{made[0]['endpoint_id']}").status == 204
    statuses = store.read(
        lambda tx: set(tx.scalars(select(Watch.status).where(Watch.endpoint_id == made[0]["endpoint_id"])))
    )
    assert statuses == {"cancelled"}


def test_a_found_endpoint_signs_with_the_subscribers_secret(
    caller: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    assert caller.get("/v1/secret").json == {"secret": caller.secret}
    assert caller.get(f"/v1/endpoints/{endpoint_id}/secret").json == {"secret": caller.secret}
    assert signing_texts(store, encryption, endpoint_id) == [caller.secret]


def test_after_a_rotation_the_old_secret_signs_too_until_the_overlap_ends(
    caller: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    first = caller.post("/v1/secret/rotate")
    second = caller.post("/v1/secret/rotate", {"overlap_seconds": 60}).json["secret"]
    assert first.status == 200
    assert caller.get("/v1/secret").json == {"secret": second}
    now_signing = signing_texts(store, encryption, endpoint_id)
    assert now_signing[0] == second
    assert sorted(now_signing) == sorted([second, first.json["secret"], caller.secret])
    assert signing_texts(store, encryption, endpoint_id, later=61) == [second]


def test_a_rotation_without_overlap_ends_every_old_secret_at_once(
    caller: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    caller.post("/v1/secret/rotate", {"overlap_seconds": 604_800})
    only = caller.post("/v1/secret/rotate", {"overlap_seconds": 0}).json["secret"]
    assert signing_texts(store, encryption, endpoint_id) == [only]
    kept = select(SigningSecret.id).where(SigningSecret.subscriber_id == caller.subscriber_id)
    assert len(store.read(lambda tx: tx.execute(kept).all())) == 1


def test_a_found_endpoint_that_rotates_gets_its_own_and_the_subscribers_signs_on_for_a_while(
    caller: Caller, other: Caller, store: Store, encryption: Encryption
) -> None:
    endpoint_id = caller.watch().json["endpoint_id"]
    path = f"/v1/endpoints/{endpoint_id}/secret"
    assert other.post(f"{path}/rotate").status == 404
    own = caller.post(f"{path}/rotate", {"overlap_seconds": 100}).json["secret"]
    assert caller.get(path).json == {"secret": own}
    assert caller.get("/v1/secret").json == {"secret": caller.secret}
    assert signing_texts(store, encryption, endpoint_id) == [own, caller.secret]
    assert signing_texts(store, encryption, endpoint_id, later=101) == [own]
    caller.post("/v1/secret/rotate", {"overlap_seconds": 0})
    assert signing_texts(store, encryption, endpoint_id) == [own, caller.secret]


def test_only_so_many_secrets_sign_at_once_but_a_leak_can_always_be_ended(caller: Caller) -> None:
    statuses = [caller.post("/v1/secret/rotate").status for _ in range(secrets.SIGN_AT_ONCE)]
    assert statuses == [200] * (secrets.SIGN_AT_ONCE - 1) + [409]
    assert caller.post("/v1/secret/rotate", {"overlap_seconds": 0}).status == 200


@pytest.mark.parametrize("overlap", [-1, 604_801, None, "60", 1.5])
def test_a_wrong_overlap_is_refused(caller: Caller, overlap: Any) -> None:
    got = caller.post("/v1/secret/rotate", {"overlap_seconds": overlap})
    assert (got.status, got.pointers) == (422, ["/overlap_seconds"])


def test_a_rate_that_was_raised_holds_nothing_back(caller: Caller, store: Store) -> None:
    made = caller.post("/v1/endpoints", {"url": URL, "rate_per_second": 0.01}).json
    later = Clock(store).now() + 90_000_000

    def hold_back(tx: Tx) -> None:
        tx.execute(update(Endpoint).where(Endpoint.id == made["id"]).values(not_before=later))
        endpoint_moves.recompute(tx, [made["id"]], later)

    store.write(hold_back)
    caller.patch(f"/v1/endpoints/{made['id']}", {"rate_per_second": 100})
    assert row_of(store, made["id"]).not_before == 0


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/watches", {"job_id": "j", "callback_url": URL, "timeout_seconds": "soon"}, "/timeout_seconds"),
        ("/v1/watches", {"job_id": "j", "endpoint_id": 7}, "/endpoint_id"),
        ("/v1/watches", {"job_id": "j", "callback_url": 7}, "/callback_url"),
        ("/v1/watches", {"job_id": "j", "callback_url": URL, "events": 7}, "/events"),
        ("/v1/watches", {"job_id": "j", "callback_url": URL, "metadata": 7}, "/metadata"),
        ("/v1/endpoints", {"url": URL, "description": 7}, "/description"),
        ("/v1/endpoints", {"url": URL, "headers": 7}, "/headers"),
        ("/v1/endpoints", {"url": URL, "max_in_flight": 0}, "/max_in_flight"),
        ("/v1/endpoints", {"url": URL, "rate_per_second": "fast"}, "/rate_per_second"),
        ("/v1/endpoints", {"url": URL, "notices": "yes"}, "/notices"),
        ("/v1/deliveries/retry", {"status": "failed", "endpoint_id": 7}, "/endpoint_id"),
        ("/v1/deliveries/retry", {"status": "failed", "since": 7}, "/since"),
        ("/v1/deliveries/retry", {"status": "failed", "until": 7}, "/until"),
    ],
)
def test_what_an_optional_member_must_be_is_said(
    caller: Caller, path: str, body: dict[str, Any], pointer: str
) -> None:
    got = caller.post(path, body)
    assert got.status == 422
    (fault,) = got.json["errors"]
    assert fault["pointer"] == pointer
    assert fault["detail"].startswith("must be ")
    assert "None" not in fault["detail"]
