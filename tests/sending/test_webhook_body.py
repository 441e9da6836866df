"""The bodies of webhooks: JSON, the same bytes each time, the provider's `Data` untouched."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.events import TEST
from relay.common.states import JobStatus
from relay.provider.list_ai_job.rules.decoder import clean, data_is_json
from relay.provider.list_ai_job.rules.response_parser import read_answer
from relay.provider.registry import job_queries
from relay.provider.source import JobReport
from relay.sending.rules.webhook import BODY_LIMIT, Ended, Notice, render

DATA = Path(__file__).parents[1] / "support" / "data"
PAGE_JOB = "53d4a9c7b00c*****cdcb4b0c2c854c7"
CREATED = round(datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC).timestamp() * 1000) * 1000
JOB = JobReport(
    "a1b2", JobStatus.SUCCESS, "AIVideoTag", "0", "OK", "m1", "2026-01-02T03:04:04Z", "2026-01-02T03:04:05Z"
)
NO_DATA_EVENTS = ("ai_job.missing", "watch.expired")


def body_of(
    job: JobReport, event: str = "ai_job.success", metadata: str = "{}", data_bytes: int | None = None
) -> bytes:
    size = len((job.data or "").encode()) if data_bytes is None else data_bytes
    return render(Ended(event, CREATED, "wat_1", metadata, *job, size, job_queries().get(event)))


def job_with(text: str) -> JobReport:
    """The report that one answer with this `Data` gives, read as every answer is."""
    item = {"JobId": "a1b2", "Status": "success", "Data": text}
    answer = json.dumps({"AIJobList": {"AIJob": [item]}}).encode()
    return read_answer("application/json", answer, ["a1b2"]).reports["a1b2"]


def refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def parsed(body: bytes) -> Any:
    """Parse strictly; every webhook's body must pass."""
    return json.loads(body.decode(), parse_constant=refuse)


def test_a_body_has_the_members_of_the_contract() -> None:
    job = JOB._replace(data='{"OrigASRData":{}}', data_is_json=True)
    assert body_of(job, metadata='{"k":1}') == (
        b'{"type":"ai_job.success","timestamp":"2026-01-02T03:04:05.678Z",'
        b'"data":{"watch_id":"wat_1","metadata":{"k":1},"job":{"job_id":"a1b2","type":"AIVideoTag",'
        b'"status":"success","code":"0","message":"OK","media_id":"m1",'
        b'"creation_time":"2026-01-02T03:04:04Z","complete_time":"2026-01-02T03:04:05Z",'
        b'"data":{"OrigASRData":{}}}}}'
    )


@pytest.mark.parametrize(("kind", "content_type"), [("json", "application/json"), ("xml", "text/xml")])
def test_the_providers_own_example_is_passed_on_as_it_came(kind: str, content_type: str) -> None:
    answer = (DATA / f"listaijob_example.{kind}").read_bytes()
    job = read_answer(content_type, answer, [PAGE_JOB]).reports[PAGE_JOB]
    body = body_of(job)
    assert job.data is not None
    assert job.data_is_json
    assert f'"data":{job.data}}}}}}}'.encode() in body
    said = parsed(body)["data"]["job"]
    assert said["data"]["OrigASRData"]["AsrTextList"][0]["Text"] == "嗯。"
    assert (said["job_id"], said["code"], said["message"]) == (PAGE_JOB, "0", "OK")


@pytest.mark.parametrize(
    "text",
    [
        "1.10",
        "1e400",
        "-0",
        "9" * 5000,
        '{"a":1,"a":2}',
        '{"a" :\t[ 1.0,\r\n 2 ] }',
        '"\\u6f22\\/\\ud83d\\ude00"',
        '"漢字 😀 \u2028\u2029\u0085\x7f"',
        "null",
        "[" * 200 + "]" * 200,
    ],
)
def test_strict_json_is_spliced_in_verbatim(text: str) -> None:
    job = job_with(f" \t\r\n{text}\n ")
    assert job.data_is_json
    body = body_of(job)
    assert body.endswith(b',"data":' + text.encode() + b"}}}")
    json.loads(body, parse_int=str)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "not json",
        "{'a':1}",
        "NaN",
        "[Infinity]",
        "[1,]",
        "01",
        '{"a":1}{}',
        '"a\nb"',
        '"\\ud800"',
        "\ufeff{}",
        "\xa0{}",
        "[" * 201 + "]" * 201,
        "[" * 100_000,
        'a "quote", a \\, a \x01, a \u2028 and 漢字',
        "\ud800",
        "a\0b",
    ],
)
def test_what_is_not_strict_json_is_a_text_that_reads_back_as_it_is_stored(text: str) -> None:
    job = job_with(text)
    assert job.data == clean(text)
    assert not job.data_is_json
    assert parsed(body_of(job))["data"]["job"]["data"] == job.data


def test_a_job_without_data_says_null() -> None:
    said = parsed(body_of(JOB))["data"]["job"]
    assert said["data"] is None
    assert "data_omitted" not in said


TEXTS = st.none() | st.text().map(clean)
JOBS = st.builds(
    JobReport,
    job_id=st.just("a1b2"),
    status=st.just(JobStatus.FAIL),
    type=TEXTS,
    code=TEXTS,
    message=TEXTS,
    media_id=TEXTS,
    creation_time=TEXTS,
    complete_time=TEXTS,
    data=TEXTS | st.sampled_from(['"\u2028"', '"\\"', '{"a":"}"}', "1 ", "[[]]", '\\"', '",']),
).map(lambda job: job._replace(data_is_json=job.data is not None and data_is_json(job.data)))
METADATA = st.dictionaries(st.text().map(clean), st.text().map(clean)).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)


@given(job=JOBS, metadata=METADATA, event=st.sampled_from(["ai_job.success", "ai_job.fail", *NO_DATA_EVENTS]))
def test_whatever_the_texts_the_body_is_json_with_them_in_it(
    job: JobReport, metadata: str, event: str
) -> None:
    body = body_of(job, event, metadata)
    assert body == body_of(job, event, metadata)
    message = parsed(body)
    assert (message["type"], message["data"]["metadata"]) == (event, json.loads(metadata))
    if event in NO_DATA_EVENTS:
        return
    said = message["data"]["job"]
    assert (said["code"], said["message"], said["media_id"]) == (job.code, job.message, job.media_id)
    assert said["data"] == (json.loads(job.data) if job.data_is_json and job.data else job.data)


@given(job=JOBS)
@pytest.mark.parametrize("event", NO_DATA_EVENTS)
def test_a_missing_or_expired_watchs_body_depends_on_no_fact_of_the_job(event: str, job: JobReport) -> None:
    said = body_of(job, event)
    assert said == body_of(JobReport("a1b2", JobStatus.OPEN), event)
    assert parsed(said)["data"]["job"] == {"job_id": "a1b2", "status": "open"}


@pytest.mark.parametrize("is_json", [True, False])
def test_a_body_of_exactly_the_limit_carries_its_data_and_one_byte_more_leaves_it_out(is_json: bool) -> None:  # noqa: FBT001 - a parameter of the test
    empty = len(body_of(JOB._replace(data='""' if is_json else "", data_is_json=is_json)))
    longest = "x" * (BODY_LIMIT - empty)
    quoted = f'"{longest}"' if is_json else longest
    fits = body_of(JOB._replace(data=quoted, data_is_json=is_json))
    assert len(fits) == BODY_LIMIT
    assert parsed(fits)["data"]["job"]["data"] == longest

    longer = f'"{longest}x"' if is_json else f"{longest}x"
    left_out = parsed(body_of(JOB._replace(data=longer, data_is_json=is_json)))["data"]["job"]
    assert "data" not in left_out
    assert (left_out["data_omitted"], left_out["data_url"]) == (True, "/v1/jobs/a1b2")
    assert left_out["message"] == "OK"


def test_data_too_large_to_be_read_is_left_out_in_the_same_words() -> None:
    huge = JOB._replace(data="x" * (BODY_LIMIT + 1))
    unread = JOB._replace(data=None)
    assert body_of(huge) == body_of(unread, data_bytes=BODY_LIMIT + 1)


def test_bytes_count_and_not_characters() -> None:
    left_out = body_of(JOB._replace(data="漢" * (BODY_LIMIT // 3)))
    assert parsed(left_out)["data"]["job"]["data_omitted"] is True


def test_a_message_that_tells_of_no_watch_carries_its_content_as_it_is() -> None:
    body = render(Notice(TEST.name, CREATED, '{"endpoint_id":"ep_1","n":1.10}'))
    assert body == (
        b'{"type":"relay.test","timestamp":"2026-01-02T03:04:05.678Z","data":{"endpoint_id":"ep_1","n":1.10}}'
    )
