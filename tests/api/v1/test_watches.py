"""Watches over HTTP: registering, reading and cancelling."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from relay.watches import registration
from tests.support.api import Caller, new_job_id


def test_a_new_watch_is_answered_201_with_its_place_and_its_shape(caller: Caller) -> None:
    job_id = new_job_id()
    got = caller.post(
        "/v1/watches",
        {
            "job_id": job_id,
            "callback_url": "https://Hooks.example.com:443/a?x=1",
            "metadata": {"b": 1, "a": [2.5]},
        },
    )
    watch = got.json
    assert got.status == 201
    assert got.headers["Location"] == f"/v1/watches/{watch['id']}"
    assert got.headers["Content-Type"] == "application/json; charset=utf-8"
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert list(watch) == [
        "id", "job_id", "endpoint_id", "callback_url", "status", "events", "metadata",
        "created_at", "expires_at", "finished_at",
    ]  # fmt: skip
    assert watch["job_id"] == job_id
    assert watch["callback_url"] == "https://hooks.example.com/a?x=1"
    assert watch["status"] == "waiting"
    assert watch["events"] == ["ai_job.success", "ai_job.fail", "ai_job.missing", "watch.expired"]
    assert json.dumps(watch["metadata"]) == '{"b": 1, "a": [2.5]}'
    assert watch["finished_at"] is None
    assert watch["created_at"].endswith("Z")


def test_an_equal_watch_that_waits_is_answered_200_and_keeps_its_deadline(caller: Caller) -> None:
    job_id = new_job_id()
    first = caller.watch(job_id=job_id, metadata={"a": 1, "b": 2}, timeout_seconds=100)
    again = caller.watch(job_id=job_id, metadata={"b": 2, "a": 1}, timeout_seconds=5000)
    assert (first.status, again.status) == (201, 200)
    assert again.json == first.json
    assert "Location" not in again.headers


@pytest.mark.parametrize(
    "change",
    [{"metadata": {"a": 2}}, {"events": ["ai_job.fail"]}, {"callback_url": "https://hooks.example.com/a?q"}],
)
def test_a_watch_that_differs_is_another(caller: Caller, change: dict[str, Any]) -> None:
    job_id = new_job_id()
    first = caller.watch(job_id=job_id, metadata={"a": 1})
    second = caller.watch(job_id=job_id, **({"metadata": {"a": 1}} | change))
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]
    assert first.json["endpoint_id"] == second.json["endpoint_id"]


def test_a_watch_may_name_an_endpoint_of_its_own_subscriber_only(caller: Caller, other: Caller) -> None:
    mine = caller.post("/v1/endpoints", {"url": "https://own.example.com/in"}).json["id"]
    body = {"job_id": new_job_id(), "endpoint_id": mine}
    assert caller.post("/v1/watches", body).json["callback_url"] == "https://own.example.com/in"
    refused = other.post("/v1/watches", body)
    assert (refused.status, refused.pointers) == (422, ["/endpoint_id"])


GOOD = {"job_id": "abc", "callback_url": "https://h.example.com/"}


def test_a_batch_is_registered_whole_in_its_order(caller: Caller) -> None:
    jobs = [new_job_id() for _ in range(3)]
    watches = [{"job_id": job, "callback_url": "https://h.example.com/b"} for job in [*jobs, jobs[0]]]
    got = caller.post("/v1/watches/batch", {"watches": watches})
    assert got.status == 201
    assert [watch["job_id"] for watch in got.json["data"]] == [*jobs, jobs[0]]
    assert got.json["data"][0]["id"] == got.json["data"][3]["id"]


def test_a_batch_with_one_wrong_watch_changes_nothing(caller: Caller) -> None:
    watches: list[dict[str, Any]] = [GOOD | {"job_id": new_job_id()} for _ in range(5)]
    watches[3] = watches[3] | {"job_id": "no job"}
    watches[4] = watches[4] | {"unknown": 1}
    got = caller.post("/v1/watches/batch", {"watches": watches})
    assert (got.status, got.pointers) == (422, ["/watches/3/job_id", "/watches/4"])
    foreign = {"job_id": new_job_id(), "endpoint_id": "ep_" + "0" * 32}
    got = caller.post("/v1/watches/batch", {"watches": [*watches[:3], foreign]})
    assert (got.status, got.pointers) == (422, ["/watches/3/endpoint_id"])
    assert caller.get("/v1/watches").json["data"] == []


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_holds_1_to_1000_watches(caller: Caller, count: int) -> None:
    got = caller.post("/v1/watches/batch", {"watches": [GOOD] * count})
    assert (got.status, got.pointers) == (422, ["/watches"])


def test_a_batch_of_1000_large_watches_is_taken(caller: Caller) -> None:
    watches = [
        {"job_id": new_job_id(), "callback_url": f"https://h.example.com/?{index}{'q' * 2000}"}
        | {"metadata": {"a": "x" * 4000}}
        for index in range(1000)
    ]
    got = caller.post("/v1/watches/batch", {"watches": watches}, key="large")
    assert got.status == 201
    assert len(got.json["data"]) == 1000
    assert caller.post("/v1/watches/batch", {"watches": watches}, key="large").body == got.body


def test_one_watch_is_shown_with_its_job_and_deliveries(caller: Caller) -> None:
    watch = caller.watch().json
    got = caller.get(f"/v1/watches/{watch['id']}")
    assert got.status == 200
    assert got.json == watch | {
        "job": {"job_id": watch["job_id"], "status": "open"}
        | dict.fromkeys(["type", "code", "message", "media_id", "creation_time", "complete_time"]),
        "delivery_ids": [],
    }


def test_a_cancelled_watch_stays_as_history_and_an_equal_one_is_new(caller: Caller) -> None:
    watch = caller.watch().json
    gone = caller.delete(f"/v1/watches/{watch['id']}")
    assert (gone.status, gone.json["status"]) == (200, "cancelled")
    assert gone.json["finished_at"]
    again = caller.watch(job_id=watch["job_id"])
    assert again.status == 201
    assert again.json["id"] != watch["id"]
    assert caller.get(f"/v1/watches/{watch['id']}").json["status"] == "cancelled"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("thing", ["watches", "endpoints"])
def test_what_belongs_to_another_subscriber_is_not_found(
    caller: Caller, other: Caller, method: str, thing: str
) -> None:
    watch = caller.watch().json
    name = watch["id"] if thing == "watches" else watch["endpoint_id"]
    assert other.send(method, f"/v1/{thing}/{name}").status == 404
    assert caller.get(f"/v1/watches/{watch['id']}").json["status"] == "waiting"


@pytest.mark.parametrize("name", ["wat_x", "ep_" + "0" * 32, "%00", "%ff", "wat_" + "ä" * 32, "batch"])
def test_an_id_that_is_none_is_not_found(caller: Caller, name: str) -> None:
    path = name if name.isascii() else "wat_%C3%A4"
    assert caller.get(f"/v1/watches/{path}").status == 404


def test_too_many_waiting_watches_are_429_and_none_is_made(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "WAITING_WATCHES", 2)
    assert [caller.watch().status for _ in range(2)] == [201, 201]
    got = caller.watch()
    assert got.status == 429
    assert got.json["type"].endswith("quota")
    assert int(got.headers["Retry-After"]) > 0
    assert len(caller.get("/v1/watches").json["data"]) == 2


def test_too_many_endpoints_are_429_and_none_is_made(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "ENDPOINTS", 1)
    assert caller.watch(callback_url="https://h.example.com/1").status == 201
    assert caller.watch(callback_url="https://h.example.com/1?q=2").status == 201
    assert caller.watch(callback_url="https://h.example.com/2").status == 429
    got = caller.post("/v1/endpoints", {"url": "https://h.example.com/2"})
    assert got.status == 429
    assert "metadata" in got.json["detail"]
    assert len(caller.get("/v1/endpoints").json["data"]) == 1


def test_equal_watches_posted_at_once_are_one(caller: Caller) -> None:
    job_id, barrier = new_job_id(), threading.Barrier(8)

    def post(_index: int) -> tuple[int, str]:
        barrier.wait()
        got = caller.watch(job_id=job_id)
        return got.status, got.json["id"]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(post, range(8)))
    assert sorted(status for status, _ in got) == [200] * 7 + [201]
    assert len({watch_id for _, watch_id in got}) == 1
