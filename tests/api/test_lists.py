"""Lists over HTTP: pages, cursors and filters."""

import pytest

from tests.support.api import Caller, new_job_id


def test_lists_are_newest_first_and_paged_without_gap_or_repeat(caller: Caller) -> None:
    created = [caller.watch().json["id"] for _ in range(7)]
    first = caller.get("/v1/watches?limit=3").json
    second = caller.get(f"/v1/watches?limit=3&cursor={first['next_cursor']}").json
    third = caller.get(f"/v1/watches?limit=3&cursor={second['next_cursor']}").json
    assert [watch["id"] for page in (first, second, third) for watch in page["data"]] == created[::-1]
    assert [len(page["data"]) for page in (first, second, third)] == [3, 3, 1]
    assert third["next_cursor"] is None


def test_lists_are_filtered(caller: Caller) -> None:
    waiting = caller.watch(callback_url="https://one.example.com/").json
    gone = caller.watch(callback_url="https://two.example.com/").json
    caller.delete(f"/v1/watches/{gone['id']}")

    def ids(query: str) -> list[str]:
        return [watch["id"] for watch in caller.get(f"/v1/watches?{query}").json["data"]]

    assert ids("status=waiting") == [waiting["id"]]
    assert ids("status=cancelled") == [gone["id"]]
    assert ids(f"job_id={gone['job_id']}") == [gone["id"]]
    assert ids(f"endpoint_id={waiting['endpoint_id']}") == [waiting["id"]]
    assert ids(f"endpoint_id={waiting['endpoint_id']}&status=cancelled") == []
    assert ids(f"job_id={new_job_id()}") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"), ("limit=101", "/limit"), ("limit=x", "/limit"), ("limit=", "/limit"),
        ("limit=%D9%A5", "/limit"), ("limit=5&limit=6", "/limit"), ("cursor=zzz", "/cursor"),
        ("cursor=ZXBf", "/cursor"), ("cursor=%00", "/cursor"), ("cursor=%C3%A4", "/cursor"),
        ("status=held", "/status"), ("job_id=a%00", "/job_id"), ("endpoint_id=x", "/endpoint_id"),
        ("Zebra=1", ""),
    ],
)  # fmt: skip
def test_a_wrong_query_is_refused(caller: Caller, query: str, pointer: str) -> None:
    got = caller.get(f"/v1/watches?{query}")
    assert (got.status, got.pointers) == (422, [pointer])
    assert b"Zebra" not in got.body


def test_a_cursor_of_another_list_is_refused(caller: Caller) -> None:
    for index in range(2):
        caller.post("/v1/endpoints", {"url": f"https://h.example.com/{index}"})
    cursor = caller.get("/v1/endpoints?limit=1").json["next_cursor"]
    assert caller.get(f"/v1/watches?cursor={cursor}").status == 422
    assert caller.get(f"/v1/endpoints?cursor={cursor}").status == 200
