"""Parsing answers and refusals: the page's examples, every awkward shape, any bytes at all."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.errors import UnreadableAnswer
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.provider.list_ai_job.rules.decoder import clean, data_is_json
from relay.provider.list_ai_job.rules.response_parser import read_answer, read_refusal
from relay.provider.source import Answer, JobReport, RefusalKind, Refused

DATA = Path(__file__).parents[1] / "support" / "data"
JSON, XML = "application/json;charset=utf-8", "text/xml;charset=utf-8"

PAGE_REPORT = JobReport(
    job_id="53d4a9c7b00c*****cdcb4b0c2c854c7",
    status=JobStatus.SUCCESS,
    type="AIVideoTag",
    code="0",
    message="OK",
    media_id="a718a3a1e8*****bb42ee3bc88921e9",
    creation_time="2020-06-28T02:04:32Z",
    complete_time="2020-06-28T02:04:47Z",
    data=(
        '{"OrigASRData":{"AsrTextList":['
        '{"EndTime":700,"StartTime":0,"Text":"嗯。","ChannelId":0,"SpeechRate":85},'
        '{"EndTime":3750,"StartTime":1630,"Text":"的。","ChannelId":0,"SpeechRate":28},'
        '{"EndTime":5910,"StartTime":4020,"Text":"听不厌。","ChannelId":0,"SpeechRate":95},'
        '{"EndTime":12750,"StartTime":10090,"Text":"留言。","ChannelId":0,"SpeechRate":45},'
        '{"EndTime":25230,"StartTime":13590,"Text":"hello，中午好。","ChannelId":0,"SpeechRate":20},'  # noqa: RUF001 - the page's comma
        '{"EndTime":30000,"StartTime":28220,"Text":"嗯。","ChannelId":0,"SpeechRate":33}],'
        '"Duration":"30016"}}'
    ),
    data_is_json=True,
)
PAGE_MISSING = frozenset({"aasdcsfg*****782740asd", "k2l3ibask*****od98wrns9"})


def read(document: object, *asked: str) -> Answer:
    return read_answer(JSON, json.dumps(document).encode(), asked)


def read_jobs(*jobs: dict[str, Any]) -> dict[str, JobReport]:
    return read({"AIJobList": {"AIJob": list(jobs)}}, "a", "b").reports


@pytest.mark.parametrize(
    ("name", "content_type"), [("json", JSON), ("xml", XML), ("json", None), ("xml", None)]
)
def test_the_pages_example_is_read_with_every_field(name: str, content_type: str | None) -> None:
    body = (DATA / f"listaijob_example.{name}").read_bytes()
    answer = read_answer(content_type, body, [PAGE_REPORT.job_id, "another", *PAGE_MISSING])
    assert answer.reports == {PAGE_REPORT.job_id: PAGE_REPORT}
    assert answer.missing == PAGE_MISSING
    assert answer.request_id == "8233A0E4-E112-44*****58-2BCED1B88173"


def test_only_what_was_asked_is_in_the_answer() -> None:
    body = (DATA / "listaijob_example.json").read_bytes()
    answer = read_answer(JSON, body, ["k2l3ibask*****od98wrns9"])
    assert answer.reports == {}
    assert answer.missing == {"k2l3ibask*****od98wrns9"}


@pytest.mark.parametrize(
    "missing",
    [
        {"String": ["a", "b"]},
        {"String": '["a", "b"]'},
        {"String": ['["a", "b"]']},
        {"String": "a,b"},
        {"String": ["a, b"]},
        {"String": ["a,x", "[", "b", None, 7, "[1, null]"]},
        ["a", "b"],
        "a,b",
    ],
)
def test_missing_ids_in_every_shape(missing: object) -> None:
    answer = read({"NonExistAIJobIds": missing}, "a", "b", "c")
    assert answer.missing == {"a", "b"}


@pytest.mark.parametrize("nothing", [None, "", [], {}, {"String": None}, {"String": []}, {"String": ""}])
def test_no_missing_ids_in_every_shape(nothing: object) -> None:
    assert read({"NonExistAIJobIds": nothing, "AIJobList": {}}, "a") == Answer({}, frozenset(), None)


@pytest.mark.parametrize(
    "jobs",
    [
        {"AIJob": [{"JobId": "a", "Status": "fail"}]},
        {"AIJob": {"JobId": "a", "Status": "fail"}},
        [{"JobId": "a", "Status": "fail"}],
        [{"JobId": "a", "Status": "fail"}, {"JobId": "x", "Status": "success"}, {}, None, "junk", [1]],
        [{"JobId": "a", "Status": "fail"}, {"Status": "success"}, {"JobId": ["a"], "Status": "success"}],
    ],
)
def test_jobs_in_every_shape(jobs: object) -> None:
    assert read({"AIJobList": jobs}, "a", "b").reports == {"a": JobReport("a", JobStatus.FAIL)}


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("success", JobStatus.SUCCESS),
        ("Success", JobStatus.SUCCESS),
        (" FAIL ", JobStatus.FAIL),
        ("init", JobStatus.OPEN),
        ("processing", JobStatus.OPEN),
        ("reserved", JobStatus.OPEN),
        ("analysing", JobStatus.OPEN),
        ("failure", JobStatus.OPEN),
        ("", JobStatus.OPEN),
        (None, JobStatus.OPEN),
        (1, JobStatus.OPEN),
    ],
)
def test_only_success_and_fail_end_a_job(word: object, status: JobStatus) -> None:
    assert read_jobs({"JobId": "a", "Status": word})["a"].status is status


def test_numbers_serve_as_texts_and_other_things_as_nothing() -> None:
    report = read_jobs({"JobId": "a", "Code": 0, "Message": True, "MediaId": 1.5, "Type": ["x"]})["a"]
    assert (report.code, report.message, report.media_id, report.type) == ("0", None, None, None)


def test_reports_that_disagree_are_not_truth() -> None:
    done, going = {"JobId": "a", "Status": "success"}, {"JobId": "a", "Status": "processing"}
    assert read_jobs(done, going) == {}
    assert read_jobs(done, done).keys() == {"a"}


def test_an_id_both_listed_and_missing_is_neither() -> None:
    document = {"AIJobList": [{"JobId": "a"}, {"JobId": "b"}], "NonExistAIJobIds": {"String": ["a", "c"]}}
    answer = read(document, "a", "b", "c")
    assert answer.reports.keys() == {"b"}
    assert answer.missing == {"c"}


def test_texts_are_made_storable() -> None:
    report = read_jobs({"JobId": "a", "Message": "x\0y\ud800z", "Data": '{"t": "\ud83d\0"}'})["a"]
    assert report.message == "x\ufffdy\ufffdz"
    assert report.data == '{"t": "\ufffd\ufffd"}'
    assert report.data_is_json


def test_data_given_as_json_becomes_a_compact_text() -> None:
    report = read_jobs({"JobId": "a", "Data": {"VideoDNA": [{"Similarity": "0.9", "名": [1, 2.5]}]}})["a"]
    assert report.data == '{"VideoDNA":[{"Similarity":"0.9","名":[1,2.5]}]}'
    assert report.data_is_json


def test_data_that_is_not_json_is_kept_as_text() -> None:
    report = read_jobs({"JobId": "a", "Data": "{'OrigASRData'"}, {"JobId": "b"})
    assert (report["a"].data, report["a"].data_is_json) == ("{'OrigASRData'", False)
    assert (report["b"].data, report["b"].data_is_json) == (None, False)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b""),
        (JSON, b"\xff\xfe{}"),
        (JSON, b"null"),
        (JSON, b"[]"),
        (JSON, b"{}"),
        (JSON, b'{"RequestId": "x"}'),
        (JSON, b'{"AIJobList": 1}'),
        (JSON, b'{"AIJobList": {"AIJob": true}}'),
        (JSON, b'{"NonExistAIJobIds": {"String": 5}}'),
        (JSON, b'{"AIJobList": NaN}'),
        (JSON, b'{"AIJobList": [' + b"9" * 5000 + b"]}"),
        (JSON, b"[" * 100_000),
        (JSON, b'{"AIJobList": []} trailing'),
        (JSON, b"<ListAIJobResponse><AIJobList/></ListAIJobResponse>"),
        ("text/html", b"<!doctype html><html><body><p>Bad gateway"),
        ("text/html", b"<html><body>Bad gateway</body></html>"),
        (XML, b'{"AIJobList": []}'),
        (XML, b"<ListAIJobResponse><AIJobList>"),
        (XML, b"<a>" * 33 + b"</a>" * 33),
        (XML, b"<a>" * 1_000_000),
        (XML, b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a><AIJobList/></a>'),
        (XML, b'<!DOCTYPE a [<!ENTITY x "y">]><a><AIJobList>&x;</AIJobList></a>'),
        (XML, b"<a><AIJobList>&x;</AIJobList></a>"),
        (XML, b'<?xml version="1.0" encoding="unicode_escape"?><a>\xff</a>'),
    ],
)
def test_what_is_no_answer_is_unreadable(content_type: str, body: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        read_answer(content_type, body, ["a"])


def test_xml_lists_of_several_and_an_encoding_of_its_own() -> None:
    body = """<?xml version="1.0" encoding="punycode"?>
        <ListAIJobResponse xmlns="urn:x">
          <NonExistAIJobIds><String>c</String><String>d</String></NonExistAIJobIds>
          <AIJobList>
            <AIJob><JobId> a </JobId><Status>success</Status><Data><![CDATA[{"t":"<&名"}]]></Data></AIJob>
            <AIJob><JobId>b</JobId><Status>fail</Status><Message>a &lt; b</Message><Code/></AIJob>
          </AIJobList>
        </ListAIJobResponse>"""
    answer = read_answer("application/xml", body.encode(), ["a", "b", "c"])
    assert answer.missing == {"c"}
    assert answer.reports == {
        "a": JobReport("a", JobStatus.SUCCESS, data='{"t":"<&名"}', data_is_json=True),
        "b": JobReport("b", JobStatus.FAIL, code="", message="a < b"),
    }


content_types = st.sampled_from([JSON, XML, None, "text/html", ";", "application/problem+json"])
fragments = st.lists(
    st.sampled_from(
        [
            *(b'{"AIJobList":', b'{"AIJob":', b'[{"JobId":"a"', b',"Status":"success"', b',"Data":', b"null"),
            *(
                b'"NonExistAIJobIds":',
                b'{"String":',
                b'"a"',
                b"[",
                b"]",
                b"}",
                b",",
                b"\\ud800",
                b'"',
                b"NaN",
            ),
            *(b"<r>", b"<AIJobList>", b"<AIJob>", b"<JobId>a</JobId>", b"</AIJob>", b"</AIJobList>", b"</r>"),
            *(
                b"<!DOCTYPE r>",
                b"&#0;",
                b"&lt;",
                b"<![CDATA[",
                b"]]>",
                b'<?xml version="1.0"?>',
                b"\x00",
                b"1e9",
            ),
        ]
    ),
    max_size=12,
).map(b"".join)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("a")
names = st.sampled_from(
    ["AIJobList", "AIJob", "NonExistAIJobIds", "String", "JobId", "Status", "Data", "Code"]
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)
)


@given(
    content_types, st.binary(max_size=200) | fragments | documents.map(lambda tree: json.dumps(tree).encode())
)
def test_any_bytes_are_an_answer_or_unreadable(content_type: str | None, body: bytes) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert isinstance(read_refusal(500, headers, body), Refused)
    try:
        answer = read_answer(content_type, body, ["a", "b"])
    except UnreadableAnswer:
        return
    assert answer.reports.keys() | answer.missing <= {"a", "b"}
    assert not answer.reports.keys() & answer.missing
    for report in answer.reports.values():
        assert all(text == clean(text) for text in (report.message, report.data) if text is not None)


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("{}", True),
        (' [1, -0.5e-7, "x", null, true] ', True),
        ("5", True),
        ('{"a": 1, "a": 2}', True),
        ("9" * 10_000, True),
        ("1e999", True),
        (r'"\ud83d\ude00"', True),
        (r'"\\ud800"', True),
        (r'"\ud7ff\ue000"', True),
        ("[" * 200 + "]" * 200, True),
        ('{"a":' * 200 + "1" + "}" * 200, True),
        ("", False),
        ("\ufeff{}", False),
        ("{'a': 1}", False),
        ("[1,]", False),
        ("01", False),
        ("NaN", False),
        ("[-Infinity]", False),
        ('"\n"', False),
        ('"\ud800"', False),
        (r'"\ud800"', False),
        (r'"\\\ud800"', False),
        (r'"\ude00\ud83d"', False),
        (r'{"\uDFFF": 1}', False),
        (r'{"a": "\ud800", "a": 1}', False),
        ("[" * 201 + "]" * 201, False),
        ('{"a":' * 201 + "1" + "}" * 201, False),
        ('{"a": ' + "[" * 200 + "]" * 200 + ', "a": 1}', False),
        ("[" * 1_000_000, False),
        ("[" * 1_000_000 + "]" * 1_000_000, False),
    ],
)
def test_data_is_json_where_it_is_strict_and_shallow(text: str, *, is_json: bool) -> None:
    assert data_is_json(text) is is_json


@given(st.text(max_size=30) | documents.map(json.dumps))
def test_data_that_is_json_is_json_to_a_strict_reader(text: str) -> None:
    if data_is_json(text):
        json.dumps(json.loads(text), ensure_ascii=False).encode()


@given(documents)
def test_what_encodes_as_strict_json_is_json(document: object) -> None:
    try:
        text = json.dumps(document, allow_nan=False)
        json.dumps(document, ensure_ascii=False).encode()
    except ValueError:
        return
    assert data_is_json(text)


def test_data_is_judged_even_where_the_stack_is_nearly_used_up() -> None:
    def descend(levels: int) -> bool:
        return data_is_json("[" * 150 + "]" * 150) if levels == 0 else descend(levels - 1)

    frame, depth = sys._getframe(), 0
    while frame := frame.f_back:  # type: ignore[assignment]  # it ends with None
        depth += 1
    assert descend(sys.getrecursionlimit() - depth - 100) in {True, False}


def test_large_data_is_judged_quickly() -> None:
    speech = json.dumps({"AsrTextList": [{"StartTime": 1, "Text": 'a "word" \\ 名\ud83d\ude00'}] * 200_000})
    assert len(speech) > 10_000_000
    started = time.process_time()
    assert data_is_json(speech)
    assert time.process_time() - started < 5  # a fraction of a second; the limit only catches a bad algorithm


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Throttling", RefusalKind.THROTTLED),
        ("Throttling.User", RefusalKind.THROTTLED),
        ("ServiceUnavailable", RefusalKind.TRANSIENT),
        ("InternalError", RefusalKind.TRANSIENT),
        ("SomethingNew", RefusalKind.TRANSIENT),
        ("", RefusalKind.TRANSIENT),
        (None, RefusalKind.TRANSIENT),
        ("SignatureNonceUsed", RefusalKind.SIGN_AGAIN),
        ("InvalidTimeStamp.Expired", RefusalKind.SIGN_AGAIN),
        ("InvalidTimestamp.Expired", RefusalKind.SIGN_AGAIN),
        ("InvalidAccessKeyId.NotFound", RefusalKind.DENIED),
        ("InvalidAccessKeyId.Inactive", RefusalKind.DENIED),
        ("SignatureDoesNotMatch", RefusalKind.DENIED),
        ("Forbidden.RAM", RefusalKind.DENIED),
        ("OperationDenied.Suspended", RefusalKind.DENIED),
        ("InvalidSecurityToken.Expired", RefusalKind.DENIED),
        ("MissingSecurityToken", RefusalKind.DENIED),
        ("InvalidAction.NotFound", RefusalKind.DENIED),
        ("InvalidVersion", RefusalKind.DENIED),
        ("MissingJobIds", RefusalKind.BAD_IDS),
        ("InvalidParameter.JobIds", RefusalKind.BAD_IDS),
        ("InvalidJobId.NotFound", RefusalKind.BAD_IDS),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 403, 500, 503])
def test_a_refusal_is_judged_by_its_code(code: str | None, kind: RefusalKind, status: int) -> None:
    body = json.dumps({"RequestId": "R", "HostId": "h", "Code": code, "Message": "m"}).encode()
    refusal = read_refusal(status, {"content-type": JSON}, body)
    assert refusal == Refused(kind, code, "m", "R", None, status)


def test_a_refusal_in_xml() -> None:
    body = b"<Error><RequestId>R</RequestId><Code>Throttling.Api</Code><Message>m</Message></Error>"
    expected = Refused(RefusalKind.THROTTLED, "Throttling.Api", "m", "R", None, 503)
    assert read_refusal(503, {"Content-Type": XML}, body) == expected


@pytest.mark.parametrize(("status", "kind"), [(429, RefusalKind.THROTTLED), (502, RefusalKind.TRANSIENT)])
def test_a_refusal_that_cant_be_read_is_judged_by_its_status(status: int, kind: RefusalKind) -> None:
    refusal = read_refusal(status, {"content-type": "text/html"}, b"<html><body>nginx")
    assert refusal == Refused(kind, None, None, None, None, status)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("1500", 1_500_000),
        (" 20 ", 20_000),
        ("600001", 600 * US_PER_SECOND),
        ("9" * 18, 600 * US_PER_SECOND),
        ("9" * 5000, None),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
    ],
)
def test_the_wait_is_in_milliseconds_and_bounded(header: str, wait: int | None) -> None:
    body = b'{"Code": "Throttling.User"}'
    assert read_refusal(429, {"X-Acs-Retry-After": header}, body).retry_after == wait


def test_what_was_signed_is_not_repeated_in_the_message() -> None:
    message = "Specified signature is not matched with our calculation."
    echo = " server string to sign is:GET&%2F&AccessKeyId%3Dtestid"
    body = json.dumps({"Code": "SignatureDoesNotMatch", "Message": message + echo}).encode()
    assert read_refusal(400, {}, body).message == message
