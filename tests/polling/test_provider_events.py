"""Provider events: their signatures, the jobs that they name, and the polls of those jobs."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.db.tables import Delivery, Job, Watch
from relay.polling.rules.poll_policy import CLOSEST_POLLS, EVENLY, Plan, Quota
from relay.polling.rules.provider_events import ASK_AGAIN, ask_again_at
from relay.polling.sql import provider_events
from relay.polling.sql.poll_claims import PollClaim
from relay.polling.sql.poll_results import give_back
from relay.provider.list_ai_job.rules.events import (
    TOLERANCE,
    is_signed,
    job_ids,
    sign,
)
from relay.provider.list_ai_job.rules.response_parser import IDS_PER_CALL
from relay.provider.source import Answer, Answered, JobReport, RefusalKind, Refused
from relay.watches import registration
from tests.support.flow import LEASE, World, fresh_job_id
from tests.support.polling import claim, poll_once, record_open
from tests.support.provider import Provider

# The provider's own example (docs/provider.md).
URL, KEY = "https://www.example.com/your/callback", "Test123"
TIMESTAMP, SIGNATURE = "1519375990", "c587b80d2d0ede300e8967937da7219b"
THEN = 1_519_375_990 * US_PER_SECOND


def signed(**changes: Any) -> bool:
    given: dict[str, Any] = {"timestamp": TIMESTAMP, "signature": SIGNATURE, "now": THEN} | changes
    return is_signed(given.pop("url", URL), given.pop("keys", [KEY]), **given)


# Signatures.


def test_the_providers_example_is_signed() -> None:
    assert sign(URL, KEY, TIMESTAMP) == SIGNATURE
    assert signed()


@pytest.mark.parametrize("signature", [SIGNATURE.upper(), SIGNATURE.capitalize()])
def test_letter_case_does_not_count(signature: str) -> None:
    assert signed(signature=signature)


@pytest.mark.parametrize("keys", [["New", KEY], [KEY, "New"]])
def test_either_of_two_keys_signs(keys: list[str]) -> None:
    assert signed(keys=keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"signature": ""},
        {"signature": SIGNATURE[:-1]},
        {"signature": SIGNATURE + "0"},
        {"signature": "é" * 32},
        {"signature": "\ud800" * 32},
        {"timestamp": None},
        {"timestamp": ""},
        {"timestamp": "1519375991"},
        {"timestamp": "0x5a8fd9f6"},
        {"timestamp": "\uff11519375990"},
        {"timestamp": f" {TIMESTAMP}"},
        {"timestamp": f"{TIMESTAMP}\n"},
        {"keys": []},
        {"keys": ["test123"]},
        {"url": f"{URL}/"},
    ],
)
def test_whatever_else_is_not_signed(changes: dict[str, Any]) -> None:
    assert not signed(**changes)


@pytest.mark.parametrize("seconds", [-TOLERANCE, 0, TOLERANCE])
def test_a_signature_is_good_for_five_minutes_either_way(seconds: int) -> None:
    assert signed(now=THEN + seconds * US_PER_SECOND)
    away = seconds + (1 if seconds >= 0 else -1)
    assert signed(now=THEN + away * US_PER_SECOND) == (seconds == 0)


@given(st.text(), st.text(), st.integers(min_value=0, max_value=10**18))
def test_no_header_raises(timestamp: str, signature: str, now: int) -> None:
    assert not is_signed(URL, [KEY], timestamp=timestamp, signature=signature, now=now)


# Bodies.


def event(job_id: object = "job-1", **more: object) -> dict[str, object]:
    return {
        "EventTime": "2020-06-28T02:04:17:025Z",
        "EventType": "AIVideoTagComplete",
        "JobId": job_id,
        "MediaId": "m",
        "Status": "success",
        "Code": "0",
        "Message": "OK",
        "Data": json.dumps({"JobId": "inner", "OrigASRData": {"AsrTextList": []}}),
        **more,
    }


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(event()),
        json.dumps(event(), indent=4),
        json.dumps([event(), event("job-1")]),
        json.dumps({"event": {"body": event()}}),
        json.dumps(event(EventTime=None, Data=None)),
        json.dumps(event())[:-2],
        "\ufeff" + json.dumps(event()),
        json.dumps(event()) + json.dumps(event()),
        '{"JobId" :\r\n\t"job-1", "Data": NaN}',
        '{"JobId": "job-1"' + "[" * 100_000,
    ],
)
def test_the_job_is_found_in_every_shape(body: str) -> None:
    assert job_ids(body.encode()) == ["job-1"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        json.dumps(event(None)).encode(),
        json.dumps(event(17)).encode(),
        json.dumps(event("")).encode(),
        json.dumps(event("x" * 65)).encode(),
        json.dumps(event("a b")).encode(),
        json.dumps(event("a\nb")).encode(),
        json.dumps(event("job-é")).encode(),
        json.dumps({"Data": json.dumps(event())}).encode(),
    ],
)
def test_a_body_without_a_job_names_none(body: bytes) -> None:
    assert job_ids(body) == []


def test_a_body_names_ten_jobs_at_most() -> None:
    body = json.dumps([event(f"job-{n}") for n in range(50)]).encode()
    assert job_ids(body) == [f"job-{n}" for n in range(IDS_PER_CALL)]


@given(st.binary(max_size=500))
def test_any_bytes_are_read(noise: bytes) -> None:
    found = job_ids(noise + b'{"JobId":"job-1"}' + noise)
    assert "job-1" in found


@pytest.mark.parametrize("filling", [b" ", b'"', b'"JobId"', b'"JobId":', b'"JobId" :"', b"\\"])
def test_the_largest_body_is_read_at_once(filling: bytes) -> None:
    body = filling * ((8 << 20) // len(filling))
    started = time.process_time()  # what other processes take does not count
    job_ids(body)
    assert time.process_time() - started < 1


# When to ask again.


def test_a_named_job_that_is_still_open_is_asked_about_again_after_1_2_and_4_seconds() -> None:
    assert [ask_again_at(100 * US_PER_SECOND, polls, 0) for polls in (1, 2, 3)] == [
        100 * US_PER_SECOND + pause for pause in ASK_AGAIN
    ]
    assert ask_again_at(100 * US_PER_SECOND, 4, 0) is None


def test_an_answer_older_than_the_event_counts_for_nothing() -> None:
    assert ask_again_at(100 * US_PER_SECOND, 0, 0) == 100 * US_PER_SECOND


@given(st.integers(0, 3), st.integers(0, 10**16), st.integers(0, 10**16))
def test_never_before_the_job_may_be_asked(polls: int, now: int, earliest: int) -> None:
    time_us = ask_again_at(now, polls, earliest)
    assert time_us is not None
    assert time_us >= max(now, earliest)


# In the database and the flow.


def notify(world: World, *ids: str) -> int:
    return world.store.write(provider_events.mark, "default", ids, world.now)


SCARCE = Quota(EVENLY, longest=60.0)  # polls: one in a minute


def still_open(world: World, claimed: PollClaim) -> None:
    record_open(world, claimed, Plan({world.subscriber_id: SCARCE}))


def job(world: World, job_id: str) -> Any:
    return world.rows(Job, Job.job_id == job_id)[0]


def polled(world: World, job_id: str) -> Any:
    """A job that was asked about just now and goes on."""
    world.watch(job_id)
    still_open(world, claim(world))
    return job(world, job_id)


def test_a_named_job_is_asked_about_in_the_next_call_before_all_that_are_due(world: World) -> None:
    polled(world, "named")
    world.register(*(world.request(fresh_job_id()) for _ in range(30)))
    world.later(3)
    world.store.write(lambda tx: tx.execute(update(Job).where(Job.job_id != "named").values(due_at=1)))
    assert notify(world, "named") == 1
    assert claim(world).jobs[0].job_id == "named"


def test_an_event_waits_until_its_job_may_be_asked_about(world: World) -> None:
    asked_at = polled(world, "named").polled_at
    world.later(0.5)
    notify(world, "named")
    assert job(world, "named").due_at == asked_at + CLOSEST_POLLS
    world.later(1.4)
    assert claim(world).jobs == ()
    world.later(0.1)
    assert [job.job_id for job in claim(world).jobs] == ["named"]


def test_an_event_never_makes_a_job_due_later(world: World) -> None:
    world.watch("new")
    due_at = job(world, "new").due_at
    world.later(5)
    notify(world, "new")
    assert job(world, "new").due_at == due_at


def test_only_open_jobs_that_somebody_waits_for_are_marked(world: World) -> None:
    watch_id = world.watch("cancelled")
    world.store.write(registration.cancel, world.subscriber_id, watch_id, world.now)
    world.end_job(world.watch("ended"))
    world.watch("waiting")
    assert notify(world, "cancelled", "ended", "unknown", "WAITING") == 0
    assert notify(world, "waiting", "waiting") == 1
    assert {row.job_id for row in world.rows(Job, Job.provider_event_at.is_not(None))} == {"waiting"}


def test_an_event_that_comes_while_the_job_is_claimed_is_not_lost(world: World) -> None:
    world.watch("named")
    claimed = claim(world)
    world.later(0.3)
    assert notify(world, "named") == 1
    assert job(world, "named").due_at == claimed_until(world)
    world.later(0.1)
    still_open(world, claimed)
    row = job(world, "named")
    assert row.due_at == row.polled_at + CLOSEST_POLLS
    assert row.provider_event_polls == 0


def claimed_until(world: World) -> int:
    return round(world.now - 0.3 * US_PER_SECOND) + LEASE


def test_while_it_is_still_open_a_named_job_is_asked_about_again_and_never_twice_in_2_seconds(
    world: World,
) -> None:
    polled(world, "named")
    world.later(2.5)
    notify(world, "named")
    intervals, last = [], world.now
    for _ in range(6):
        claimed = claim(world)
        assert len(claimed.jobs) == 1
        world.later(0.2)
        still_open(world, claimed)
        due_at = job(world, "named").due_at
        intervals.append((due_at - last) / US_PER_SECOND)
        last = world.now = due_at
    assert intervals == [2, 2.2, 4.2, 60.2, 60.2, 60.2]  # at least 2 s, then the usual one again
    assert job(world, "named").provider_event_at is None


def test_a_second_event_begins_anew(world: World) -> None:
    polled(world, "named")
    world.later(3)
    notify(world, "named")
    still_open(world, claim(world))
    assert job(world, "named").provider_event_polls == 1
    notify(world, "named")
    assert job(world, "named").provider_event_polls == 0


def test_a_poll_that_failed_does_not_use_up_the_event(world: World) -> None:
    polled(world, "named")
    world.later(3)
    notify(world, "named")
    for _ in range(5):
        claimed = claim(world)
        world.store.write(give_back, claimed, world.now)
        world.later(2)
    assert job(world, "named").provider_event_polls == 0


def test_an_event_ends_with_its_job_or_with_the_last_watch_that_waits(
    world: World, provider: Provider
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    world.watch(job_id)
    notify(world, job_id)
    watch_id = world.watch("unwatched")
    notify(world, "unwatched")
    world.store.write(registration.cancel, world.subscriber_id, watch_id, world.now)
    poll_once(world, provider.client().ask)
    assert world.rows(Job, Job.provider_event_at.is_not(None)) == []
    assert [row.event for row in world.rows(Delivery)] == ["ai_job.success"]


def test_a_named_job_whose_watch_was_cancelled_meanwhile_is_suspended(world: World) -> None:
    watch_id = world.watch("named")
    claimed = claim(world)
    notify(world, "named")
    world.store.write(registration.cancel, world.subscriber_id, watch_id, world.now)
    still_open(world, claimed)
    row = job(world, "named")
    assert (row.due_at, row.provider_event_at, row.provider_event_polls) == (None, None, None)


def test_an_event_that_precedes_the_providers_knowledge_still_brings_the_webhook_soon(
    world: World, provider: Provider
) -> None:
    """After the event ListAIJob says `processing` once more; by the second poll it has ended."""
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = polled_watch(world, job_id)
    world.later(3)
    notify(world, job_id)
    provider.fault("shape", name="unknown_status", times=1)
    poll_once(world, provider.client().ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "waiting"
    world.later(2)
    poll_once(world, provider.client().ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "success"


def polled_watch(world: World, job_id: str) -> str:
    watch_id = world.watch(job_id)
    still_open(world, claim(world))
    return watch_id


def test_what_an_event_says_is_never_believed(world: World) -> None:
    world.watch("named")
    notify(world, *job_ids(json.dumps(event("named", Status="success")).encode()))
    poll_once(
        world,
        lambda ids: Answered(Answer({i: JobReport(i, JobStatus.OPEN) for i in ids}, frozenset(), None), 0),
    )
    assert job(world, "named").status == JobStatus.OPEN
    assert world.rows(Delivery) == []


def test_a_named_job_that_is_refused_for_its_id_ends(world: World) -> None:
    watch_id = world.watch("named")
    notify(world, "named")
    poll_once(world, lambda _ids: Refused(RefusalKind.BAD_IDS, "InvalidJobId", "bad", None, None, 400))
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "fail"
    assert job(world, "named").provider_event_at is None
