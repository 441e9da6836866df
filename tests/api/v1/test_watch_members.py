"""The members of a watch: which values are refused with their pointer, and which are taken."""

import json
from typing import Any

import pytest

from tests.support.api import Caller, new_job_id


def test_the_order_and_the_letters_of_metadata_stay(caller: Caller) -> None:
    raw = (
        '{"job_id":"%s","callback_url":"https://h.example.com/","metadata":{"ö":"嗯","a":"\\u0000","n":1e2}}'
    )
    got = caller.send("POST", "/v1/watches", (raw % new_job_id()).encode())
    assert got.status == 201
    assert '"metadata":{"ö":"嗯","a":"\\u0000","n":100.0}' in got.body.decode()


def test_events_are_put_into_their_usual_order(caller: Caller) -> None:
    got = caller.watch(events=["watch.expired", "ai_job.success", "watch.expired"])
    assert got.json["events"] == ["ai_job.success", "watch.expired"]


GOOD = {"job_id": "abc", "callback_url": "https://h.example.com/"}


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"job_id": ""}, ["/job_id"]),
        ({"job_id": "a" * 65}, ["/job_id"]),
        ({"job_id": "a b"}, ["/job_id"]),
        ({"job_id": "ab\n"}, ["/job_id"]),
        ({"job_id": "ä"}, ["/job_id"]),
        ({"job_id": 5}, ["/job_id"]),
        ({"job_id": None}, ["/job_id"]),
        ({"callback_url": "https://h.example.com/" + "a" * 2027}, ["/callback_url"]),
        ({"callback_url": "https://user:pass@h.example.com/"}, ["/callback_url"]),
        ({"callback_url": "https://h.example.com/#f"}, ["/callback_url"]),
        ({"callback_url": "ftp://h.example.com/"}, ["/callback_url"]),
        ({"callback_url": "https://10.0.0.1/"}, ["/callback_url"]),
        ({"callback_url": "https://[::1]/"}, ["/callback_url"]),
        ({"callback_url": 5}, ["/callback_url"]),
        ({"callback_url": "https://" + "ä" * 40 + ".com/" + "a" * 1990}, ["/callback_url"]),
        ({"events": []}, ["/events"]),
        ({"events": ["ai_job.success", "relay.test"]}, ["/events"]),
        ({"events": "ai_job.success"}, ["/events"]),
        ({"events": [["ai_job.success"]]}, ["/events"]),
        ({"metadata": []}, ["/metadata"]),
        ({"metadata": {"a": "x" * 4089}}, ["/metadata"]),
        ({"metadata": deep(17)}, ["/metadata"]),
        ({"metadata": deep(100)}, ["/metadata"]),
        ({"timeout_seconds": 59}, ["/timeout_seconds"]),
        ({"timeout_seconds": 2_592_001}, ["/timeout_seconds"]),
        ({"timeout_seconds": True}, ["/timeout_seconds"]),
        ({"timeout_seconds": "60"}, ["/timeout_seconds"]),
        ({"timeout_seconds": 60.5}, ["/timeout_seconds"]),
        ({"timeout_seconds": 10**300}, ["/timeout_seconds"]),
        ({"endpoint_id": "ep_" + "0" * 32}, [""]),
        ({"callback_url": None}, [""]),
        ({"callback_url": None, "endpoint_id": "ep_x"}, ["/endpoint_id"]),
        ({"callback_url": None, "endpoint_id": "ep_" + "0" * 32}, ["/endpoint_id"]),
        ({"Zebra-Secret": 1}, [""]),
        ({"job_id": "", "timeout_seconds": 1}, ["/job_id", "/timeout_seconds"]),
    ],
)
def test_what_breaks_a_limit_is_refused_with_its_pointer(
    caller: Caller, change: dict[str, Any], pointers: list[str]
) -> None:
    got = caller.post("/v1/watches", GOOD | change)
    assert got.status == 422
    assert got.headers["Content-Type"] == "application/problem+json"
    assert got.pointers == pointers
    assert got.json["status"] == 422
    assert b"Zebra" not in got.body


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "a" * 64},
        {"job_id": "A-_9"},
        {"callback_url": "https://h.example.com/" + "a" * 2026},
        {"metadata": {"a": "x" * 4088}},
        {"metadata": deep(16)},
        {"timeout_seconds": 60},
        {"timeout_seconds": 2_592_000},
        {"events": None, "metadata": None, "timeout_seconds": None, "endpoint_id": None},
    ],
)
def test_what_just_keeps_a_limit_is_taken(caller: Caller, change: dict[str, Any]) -> None:
    assert caller.post("/v1/watches", GOOD | change).status == 201


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
def test_a_body_that_is_no_object_is_refused(caller: Caller, body: Any) -> None:
    got = caller.send("POST", "/v1/watches", json.dumps(body).encode())
    assert (got.status, got.pointers) == (422, [""])
