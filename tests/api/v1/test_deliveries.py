"""Jobs, deliveries and attempts as subscribers read them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from relay.common.ids import NewId
from relay.common.states import JobStatus, WatchStatus
from relay.common.time import US_PER_SECOND
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Attempt, Delivery
from relay.deliveries.sql import attempt_records, delivery_views
from relay.jobs.sql import jobs, moves
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.source import JobReport
from relay.watches.sql import watches
from relay.watches.sql.watches import Ending
from tests.support.api import Caller, new_job_id

REPORT = JobReport("", JobStatus.SUCCESS, "AIVideoTag", "0", "OK", "m1", "2020-06-28T02:04:32Z", "…:47Z")

End = Callable[[JobReport], None]


@pytest.fixture
def end(store: Store, clock: Clock, new_id: NewId) -> End:
    """Ends a job as a poll does."""

    def end_job(report: JobReport) -> None:
        def record(tx: Tx) -> None:
            now = clock.now()
            job = jobs.find_or_make(tx, [("default", report.job_id)], now)["default", report.job_id]
            moves.finish(tx, {job.id: report}, now)
            waiting, status = watches.waiting_for(tx, [job.id]), WatchStatus(report.status)
            watches.end(tx, [Ending(waiting, status, LIST_AI_JOB.event_of(status))], now, new_id)

        store.write(record)

    return end_job


def ended(caller: Caller, end: End, data: str | None = None) -> tuple[str, str, str]:
    """A watch whose job has ended: its id, its job's, and its delivery's."""
    watch = caller.watch().json
    end(REPORT._replace(job_id=watch["job_id"], data=data, data_is_json=bool(data and data[:1] in " {")))
    (delivery_id,) = caller.get(f"/v1/watches/{watch['id']}").json["delivery_ids"]
    return watch["id"], watch["job_id"], delivery_id


def test_a_jobs_data_is_spliced_in_as_the_provider_wrote_it(caller: Caller, end: End) -> None:
    data = ' {"a": 1.10, "a": 12345678901234567890123, "嗯": "\\u00e9"} '
    _, job_id, _ = ended(caller, end, data)
    got = caller.get(f"/v1/jobs/{job_id}")
    assert got.status == 200
    assert got.body.decode().endswith(f',"data":{data.strip()}}}')
    facts = got.json
    assert {facts[name] for name in ("job_id", "status", "type", "code", "message", "media_id")} == {
        job_id, "success", "AIVideoTag", "0", "OK", "m1",
    }  # fmt: skip
    assert facts["finished_at"]


def test_a_job_has_a_typed_view_of_its_result_where_the_shape_is_known(caller: Caller, end: End) -> None:
    _, job_id, _ = ended(caller, end, '{"Keyword": [{"Tag": "海边", "Times": ["3260"]}]}')
    result = caller.get(f"/v1/jobs/{job_id}").json["result"]
    assert result["kind"] == "video_tags"
    assert result["tags"]["keyword"] == [{"tag": "海边", "times_ms": [3260], "face_url": None}]
    for data in ('{"Keyword": 5}', "not json", None):
        _, job_id, _ = ended(caller, end, data)
        assert caller.get(f"/v1/jobs/{job_id}").json["result"] is None


@pytest.mark.parametrize("data", ["not json", "[1,", '"\ufffd"'])
def test_a_jobs_data_that_is_no_json_is_a_text(caller: Caller, end: End, data: str) -> None:
    _, job_id, _ = ended(caller, end, data)
    assert caller.get(f"/v1/jobs/{job_id}").json["data"] == data


def test_an_open_job_has_no_data_and_only_its_watchers_see_it(caller: Caller, other: Caller) -> None:
    job_id = caller.watch().json["job_id"]
    shown = caller.get(f"/v1/jobs/{job_id}")
    assert (shown.status, shown.json["status"], shown.json["data"]) == (200, "open", None)
    assert other.get(f"/v1/jobs/{job_id}").status == 404
    assert caller.get(f"/v1/jobs/{job_id}?no=parameter").status == 200
    for unknown in (new_job_id(), "a%00b", "a" * 65, "%C3%A4"):
        assert caller.get(f"/v1/jobs/{unknown}").status == 404


def test_a_watch_on_a_job_that_has_ended_has_its_delivery_at_once(caller: Caller, end: End) -> None:
    _, job_id, _ = ended(caller, end)
    got = caller.watch(job_id=job_id)
    assert (got.status, got.json["status"]) == (201, "success")
    deliveries = caller.get(f"/v1/deliveries?watch_id={got.json['id']}").json["data"]
    assert [delivery["event"] for delivery in deliveries] == ["ai_job.success"]


def test_a_delivery_is_shown_with_its_attempts(caller: Caller, end: End, store: Store, new_id: NewId) -> None:
    watch_id, _, delivery_id = ended(caller, end)
    attempt = {
        "delivery_id": delivery_id,
        "number": 1,
        "id": new_id("att"),
        "started_at": 1_700_000_000_123_456,
    }
    failed = attempt | {
        "duration": 1500,
        "status_code": 503,
        "error": "http_5xx",
        "detail": "no",
        "response_body": "b",
    }
    lost = attempt | {"number": 2, "id": new_id("att"), "error": "lost"}

    def record(tx: Tx) -> None:
        tx.execute(insert(Attempt), [failed])
        tx.execute(insert(Attempt), [lost])

    store.write(record)
    shown = caller.get(f"/v1/deliveries/{delivery_id}").json
    assert shown.pop("attempts") == [
        {
            "id": failed["id"], "number": 1, "started_at": "2023-11-14T22:13:20.123Z", "duration_ms": 1,
            "status_code": 503, "error": "http_5xx", "detail": "no", "response_body": "b",
        },
        {
            "id": lost["id"], "number": 2, "started_at": "2023-11-14T22:13:20.123Z", "duration_ms": None,
            "status_code": None, "error": "lost", "detail": None, "response_body": None,
        },
    ]  # fmt: skip
    assert shown == {
        "id": delivery_id, "watch_id": watch_id, "endpoint_id": shown["endpoint_id"],
        "event": "ai_job.success", "status": "pending", "attempt_count": 0,
        "created_at": shown["created_at"], "next_attempt_at": shown["created_at"],
        "delivered_at": None, "last_error": None,
    }  # fmt: skip
    assert caller.get("/v1/deliveries").json["data"] == [shown]


def add_attempts(store: Store, new_id: NewId, delivery_id: str, count: int, body: str = "") -> None:
    """Add failed attempts, some at a time: a packet of the database may be small."""
    attempt = {"delivery_id": delivery_id, "duration": 1500, "status_code": 503, "error": "http_5xx"}
    rows = [
        attempt
        | {"number": n, "id": new_id("att"), "started_at": n * US_PER_SECOND, "response_body": f"{n}{body}"}
        for n in range(1, count + 1)
    ]

    def add(tx: Tx) -> None:
        for at in range(0, count, 50):
            tx.execute(insert(Attempt), rows[at : at + 50])

    store.write(add)


def test_a_delivery_holds_its_latest_attempts_and_a_list_all_of_them(
    caller: Caller, other: Caller, end: End, store: Store, new_id: NewId
) -> None:
    path, sibling = (f"/v1/deliveries/{ended(caller, end)[2]}" for _ in range(2))
    count = 2 * delivery_views.LATEST_ATTEMPTS + 5
    for owner in (path, sibling):
        add_attempts(store, new_id, owner.rpartition("/")[2], count)
    latest = caller.get(path).json["attempts"]
    assert [attempt["number"] for attempt in latest] == [*range(count - 19, count + 1)]
    pages = [caller.get(f"{path}/attempts?limit={count // 3}")]
    while (cursor := pages[-1].json["next_cursor"]) is not None:
        pages.append(caller.get(f"{path}/attempts?limit={count // 3}&cursor={cursor}"))
    every = [attempt for page in pages for attempt in page.json["data"]]
    assert len(pages) == 3
    assert [attempt["number"] for attempt in every] == [*range(count, 0, -1)]
    assert every[:20] == latest[::-1]
    assert caller.get(f"{path}/attempts").json == {"data": every, "next_cursor": None}
    assert other.get(f"{path}/attempts").status == 404
    assert caller.get(f"/v1/deliveries/msg_{'0' * 32}/attempts").status == 404


def test_a_delivery_with_many_large_answers_stays_small_and_can_be_retried_with_a_key(
    caller: Caller, end: End, store: Store, new_id: NewId
) -> None:
    delivery_id = ended(caller, end)[2]
    worst = attempt_records.printable(b"\0" * 16 * 1024)
    add_attempts(store, new_id, delivery_id, 300, worst)
    assert len(caller.get(f"/v1/deliveries/{delivery_id}").body) < 2 << 20
    got = caller.post(f"/v1/deliveries/{delivery_id}/retry", key="again")
    assert (got.status, got.json["id"], "attempts" in got.json) == (202, delivery_id, False)
    assert len(got.body) < 1000
    assert caller.post(f"/v1/deliveries/{delivery_id}/retry", key="again").body == got.body


@pytest.mark.parametrize("query", ["cursor=bXNn", "cursor=LTE", "cursor=OTk5OTk5OTk5OTk5", "limit=101"])
def test_a_wrong_page_of_attempts_is_refused(caller: Caller, query: str) -> None:
    got = caller.get(f"/v1/deliveries/msg_{'0' * 32}/attempts?{query}")
    assert (got.status, got.pointers) == (422, [f"/{query.partition('=')[0]}"])


def test_deliveries_are_filtered(caller: Caller, end: End) -> None:
    first, second = ended(caller, end), ended(caller, end)
    endpoint_id = caller.get(f"/v1/deliveries/{first[2]}").json["endpoint_id"]

    def ids(query: str) -> list[str]:
        return [delivery["id"] for delivery in caller.get(f"/v1/deliveries?{query}").json["data"]]

    both = [second[2], first[2]]
    now = datetime.now(UTC)
    past, future = (f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (-1, 1))
    assert ids("status=pending") == both
    assert ids("status=delivered") == []
    assert ids(f"endpoint_id={endpoint_id}") == both
    assert ids(f"watch_id={first[0]}") == [first[2]]
    assert ids(f"since={past}&until={future}") == both
    assert ids(f"since={future}") == ids(f"until={past}") == []
    assert ids("since=1950-01-01T00:00:00%2B05:30") == ids("since=0001-01-01T00:00:00%2B23:59") == both
    assert ids("limit=1") == both[:1]


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "until=2026-01-02",
        "since=2026-13-01T00:00:00Z",
        "since=2026-01-02T03:04:05",
        "until=9999-12-31T23:59:60Z",
        "watch_id=x",
        "status=waiting",
    ],
)
def test_a_wrong_filter_is_refused(caller: Caller, query: str) -> None:
    got = caller.get(f"/v1/deliveries?{query}")
    assert (got.status, got.pointers) == (422, [f"/{query.partition('=')[0]}"])


def test_deliveries_of_another_subscriber_are_not_found(caller: Caller, other: Caller, end: End) -> None:
    watch_id, _, delivery_id = ended(caller, end)
    assert other.get(f"/v1/deliveries/{delivery_id}").status == 404
    assert other.get(f"/v1/deliveries?watch_id={watch_id}").json["data"] == []


def test_C9_deleting_an_endpoint_cancels_its_retries_and_lets_what_is_in_flight_finish(
    caller: Caller, end: End, store: Store, clock: Clock
) -> None:
    waiting, in_flight = ended(caller, end)[2], ended(caller, end)[2]
    endpoint_id = caller.get(f"/v1/deliveries/{waiting}").json["endpoint_id"]
    lease = clock.now() + 60 * US_PER_SECOND
    claim = update(Delivery).where(Delivery.id == in_flight).values(token="t", due_at=lease)
    store.write(lambda tx: tx.execute(claim))
    assert caller.delete(f"/v1/endpoints/{endpoint_id}").status == 204
    assert caller.get(f"/v1/deliveries/{waiting}").json["status"] == "cancelled"
    shown = caller.get(f"/v1/deliveries/{in_flight}").json
    assert (shown["status"], shown["next_attempt_at"]) == ("pending", None)
