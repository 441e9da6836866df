"""Provider events over HTTP, `POST /hooks/vod`: signatures, any body, speed of the answer."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from statistics import median

import pytest

from relay.db.clock import Clock
from relay.db.engine import Store
from relay.db.tables import Job
from relay.provider.list_ai_job.rules.events import sign
from relay.settings import load
from relay.subscribers.encryption import Encryption
from tests.support.api import Caller, Got, context_for_tests, new_job_id, serving
from tests.support.flow import World

URL = "https://relay.example.com/hooks/vod?tenant=1"
KEY, NEXT_KEY = "hush-key-1", "hush-key-2"
PROVIDER_EVENTS = {"RELAY_VOD_CALLBACK_URL": URL, "RELAY_VOD_CALLBACK_KEY": f"{KEY},{NEXT_KEY}"}
LOCAL = {"RELAY_CALLBACK_SCHEMES": "http,https", "RELAY_CALLBACK_ALLOW": "127.0.0.0/8"}


@pytest.fixture
def port(store: Store, encryption: Encryption) -> Iterator[int]:
    with serving(context_for_tests(store, encryption, load(LOCAL | PROVIDER_EVENTS))) as port:
        yield port


def signature(clock: Clock, *, key: str = KEY, url: str = URL, seconds: int = 0) -> dict[str, str]:
    timestamp = str(clock.now() // 1_000_000 + seconds)
    return {"X-VOD-TIMESTAMP": timestamp, "X-VOD-SIGNATURE": sign(url, key, timestamp)}


def notify(caller: Caller, body: bytes, headers: Mapping[str, str]) -> Got:
    """As VOD posts: no key of ours."""
    return Caller(caller.port).send("POST", "/hooks/vod", body, headers)


def event(job_id: str) -> bytes:
    return json.dumps({"EventType": "AIVideoTagComplete", "JobId": job_id, "Data": "{}"}).encode()


def marked(store: Store, job_id: str) -> bool:
    return World(store).rows(Job, Job.job_id == job_id)[0].provider_event_at is not None


@pytest.mark.parametrize("key", [KEY, NEXT_KEY])
def test_a_signed_event_marks_its_job(caller: Caller, store: Store, clock: Clock, key: str) -> None:
    job_id = new_job_id()
    assert caller.watch(job_id=job_id).status == 201
    answer = notify(caller, event(job_id), signature(clock, key=key))
    assert (answer.status, answer.json) == (200, {})
    assert marked(store, job_id)


def test_what_is_not_signed_is_refused_and_changes_nothing(
    caller: Caller, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = new_job_id()
    caller.watch(job_id=job_id)
    good = signature(clock)
    wrong: list[Mapping[str, str]] = [
        {},
        {"X-VOD-TIMESTAMP": good["X-VOD-TIMESTAMP"]},
        {"X-VOD-SIGNATURE": good["X-VOD-SIGNATURE"]},
        {**good, "X-VOD-SIGNATURE": "0" * 32},
        {**good, "X-VOD-SIGNATURE": "\xe9" * 32},
        {**good, "X-VOD-TIMESTAMP": good["X-VOD-TIMESTAMP"] + "0"},
        signature(clock, key="another"),
        signature(clock, url=f"http://127.0.0.1:{caller.port}/hooks/vod"),
        signature(clock, seconds=-310),
        signature(clock, seconds=310),
    ]
    with caplog.at_level(logging.DEBUG):
        answers = [notify(caller, event(job_id), headers) for headers in wrong]
    assert [answer.status for answer in answers] == [401] * len(wrong)
    assert not marked(store, job_id)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert all(secret not in said for secret in ("hush", "tenant=1", good["X-VOD-SIGNATURE"]))


def test_an_api_key_is_no_signature(caller: Caller) -> None:
    assert caller.send("POST", "/hooks/vod", event("x")).status == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b"[]", b"\xff\x00", b"<xml/>", b'{"JobId": 17}', b"[" * 100_000, event("unknown")],
)
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "x"])
def test_any_signed_body_is_answered_200(caller: Caller, clock: Clock, body: bytes, media_type: str) -> None:
    headers = signature(clock) | {"Content-Type": media_type}
    assert notify(caller, body, headers).status == 200


def test_a_body_of_8_mib_is_taken_and_a_larger_one_is_not(caller: Caller, store: Store, clock: Clock) -> None:
    job_id = new_job_id()
    caller.watch(job_id=job_id)
    start = b'{"Data": "'
    end = b'", ' + event(job_id)[1:]
    whole = start + b"\\u55ef" * ((8 << 20) // 6 - 20) + end
    full = whole + b" " * ((8 << 20) - len(whole))
    assert notify(caller, full + b" ", signature(clock)).status == 413
    assert not marked(store, job_id)
    assert notify(caller, full, signature(clock)).status == 200
    assert marked(store, job_id)


def test_a_large_body_that_is_not_signed_is_answered_401(caller: Caller) -> None:
    assert notify(caller, b" " * (8 << 20), {}).status == 401


def test_it_answers_within_50_ms(caller: Caller, clock: Clock) -> None:
    job_id = new_job_id()
    caller.watch(job_id=job_id)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        assert notify(caller, event(job_id), signature(clock)).status == 200
        times.append(time.perf_counter() - started)
    assert median(times) < 0.05


def test_while_provider_events_are_off_their_path_is_404(
    store: Store, encryption: Encryption, clock: Clock
) -> None:
    with serving(context_for_tests(store, encryption, load(LOCAL))) as port:
        answer = Caller(port).send("POST", "/hooks/vod", b"{}", signature(clock))
    assert answer.status == 404
    assert "RELAY_VOD_CALLBACK_URL" in answer.json["detail"]


def test_a_get_is_refused(caller: Caller) -> None:
    answer = caller.get("/hooks/vod")
    assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")
