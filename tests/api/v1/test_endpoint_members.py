"""The members of an endpoint: which values are refused with their pointer, and which are taken."""

from typing import Any

import pytest

from tests.support.api import Caller

URL = "https://h.example.com/in"


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
    created = caller.post("/v1/endpoints", {"url": URL}).json
    got = caller.patch(f"/v1/endpoints/{created['id']}", change)
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
