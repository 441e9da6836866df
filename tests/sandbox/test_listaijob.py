"""The local ListAIJob answers as the provider does: the official client works with it unchanged."""

import json
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from alibabacloud_tea_openapi.models import Config
from alibabacloud_vod20170321.client import Client
from alibabacloud_vod20170321.models import ListAIJobRequest
from hypothesis import given
from hypothesis import strategies as st

from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.provider.list_ai_job.rules.response_parser import read_answer
from relay.provider.list_ai_job.rules.signing import Credentials, canonical_query, sign_v1, sign_v3
from relay.sandbox.jobs import Jobs
from relay.sandbox.listaijob import ACCESS_KEY_ID, ACCESS_KEY_SECRET, CREDENTIALS
from tests.support.provider import START, Clock, Provider, running_provider

NONCE = "0123456789abcdef"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[Provider]:
    with running_provider(clock=clock) as running:
        yield running


def v1(
    *job_ids: str, method: str = "GET", credentials: Credentials = CREDENTIALS, **changes: str
) -> dict[str, str]:
    """Signed V1 parameters, with changes before signing; "" leaves a parameter out."""
    changed = {"nonce": NONCE, "action": "ListAIJob", "version": "2017-03-21"} | changes
    params = {name: value for name, value in changes.items() if name[0].isupper()}
    return sign_v1(
        method=method,
        action=changed["action"],
        version=changed["version"],
        params={"JobIds": ",".join(job_ids), **params} if job_ids else params,
        credentials=credentials,
        nonce=changed["nonce"],
        time=START,
    )


def v3(provider: Provider, *job_ids: str, method: str = "GET") -> tuple[str, dict[str, str]]:
    params = {"JobIds": ",".join(job_ids)}
    headers = sign_v3(
        method=method,
        host=provider.url.removeprefix("http://"),
        action="ListAIJob",
        version="2017-03-21",
        params=params,
        credentials=CREDENTIALS,
        nonce=NONCE,
        time=START,
    )
    return f"{provider.url}/?{canonical_query(params)}", headers


def ask(provider: Provider, params: dict[str, str]) -> requests.Response:
    return requests.get(provider.url, params=params, timeout=10)


def ask_again(provider: Provider, job_id: str, nonce: str) -> dict[str, Any]:
    jobs: list[dict[str, Any]] = ask(provider, v1(job_id, nonce=nonce)).json()["AIJobList"]["AIJob"]
    return jobs[0]


def official_client(provider: Provider) -> Client:
    config = Config(
        access_key_id=ACCESS_KEY_ID,
        access_key_secret=ACCESS_KEY_SECRET,
        endpoint=provider.url.removeprefix("http://"),
        protocol="http",
    )
    return Client(config)


def test_the_official_client_works_unchanged() -> None:
    with running_provider() as provider:
        done, failed = provider.make_jobs(
            {"type": "AIVideoTag", "outcome": "success", "seconds": 0},
            {"type": "AIMediaDNA", "outcome": "fail", "seconds": 0},
        )
        client = official_client(provider)
        for _ in range(2):
            body = client.list_aijob(ListAIJobRequest(job_ids=f"{done},nobody,{failed}")).body
            jobs = {job.job_id: job for job in body.aijob_list.aijob}
            assert jobs[done].status == "success"
            assert jobs[done].type == "AIVideoTag"
            assert "OrigASRData" in json.loads(jobs[done].data)
            assert jobs[failed].status == "fail"
            assert jobs[failed].code != "0"
            assert jobs[failed].data is None
            assert body.non_exist_aijob_ids.string == ["nobody"]
            assert body.request_id


def test_the_official_client_reads_its_errors() -> None:
    with running_provider() as provider:
        with pytest.raises(Exception, match="JobIds is mandatory") as caught:
            official_client(provider).list_aijob(ListAIJobRequest())
        assert getattr(caught.value, "code", None) == "MissingJobIds"


def test_v1_is_taken_as_get_and_as_form(provider: Provider) -> None:
    for reply in (
        ask(provider, v1("nobody")),
        requests.post(provider.url, data=v1("nobody", method="POST", nonce="2"), timeout=10),
        requests.post(provider.url, params=v1("nobody", method="POST", nonce="3"), timeout=10),
    ):
        assert reply.status_code == 200
        assert reply.json()["NonExistAIJobIds"] == {"String": ["nobody"]}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_v3_is_taken(provider: Provider, method: str) -> None:
    url, headers = v3(provider, "a", "b", method=method)
    reply = requests.request(method, url, headers=headers, timeout=10)
    assert reply.status_code == 200
    assert reply.json()["NonExistAIJobIds"]["String"] == ["a", "b"]


def test_v1_answers_xml_unless_json_is_asked_for(provider: Provider) -> None:
    (job_id,) = provider.make_jobs(
        {"type": "AIMediaDNA", "outcome": "success", "seconds": 0, "data": '{"t":"<&名"}'}
    )
    params = v1(job_id, "nobody", Format="XML")
    reply = ask(provider, params)
    assert reply.headers["Content-Type"] == "text/xml;charset=utf-8"
    assert reply.text.startswith('<?xml version="1.0" encoding="UTF-8"?><ListAIJobResponse><RequestId>')
    answer = read_answer(reply.headers["Content-Type"], reply.content, [job_id, "nobody"])
    assert answer.missing == {"nobody"}
    assert answer.reports[job_id].data == '{"t":"<&名"}'
    assert answer.reports[job_id].status is JobStatus.SUCCESS
    again = ask(provider, params)
    assert "<Error><RequestId>" in again.text
    assert "<Code>SignatureNonceUsed</Code>" in again.text


def test_every_answer_has_the_date_of_the_sandboxes_clock(provider: Provider, clock: Clock) -> None:
    for path in ("/", "/sandbox/calls", "/nowhere"):
        dated = parsedate_to_datetime(requests.get(provider.url + path, timeout=10).headers["Date"])
        assert dated.timestamp() == clock.now // US_PER_SECOND


@pytest.mark.parametrize(
    ("status", "code", "params"),
    [
        (404, "InvalidAction.NotFound", v1("a", action="GetPlayInfo")),
        (404, "InvalidAction.NotFound", {"Format": "JSON"}),
        (400, "InvalidVersion", v1("a", version="2015-01-01")),
        (404, "InvalidAccessKeyId.NotFound", v1("a", credentials=Credentials("other", "sandbox-secret"))),
        (400, "MissingAccessKeyId", v1("a") | {"AccessKeyId": ""}),
        (
            400,
            "InvalidSecurityToken.Malformed",
            v1("a", credentials=replace(CREDENTIALS, security_token="x")),
        ),
        (400, "SignatureDoesNotMatch", v1("a", credentials=Credentials("sandbox", "wrong"))),
        (400, "SignatureDoesNotMatch", v1("a", method="POST")),
        (400, "SignatureDoesNotMatch", v1("a") | {"JobIds": "b"}),
        (400, "InvalidTimeStamp.Format", v1("a") | {"Timestamp": "yesterday"}),
        (400, "MissingJobIds", v1()),
        (400, "MissingJobIds", v1(",")),
        (400, "InvalidParameter.JobIds", v1(*(f"job{n}" for n in range(11)))),
    ],
)
def test_refusals(provider: Provider, status: int, code: str, params: dict[str, str]) -> None:
    reply = ask(provider, params)
    assert reply.status_code == status
    body = reply.json()
    assert body.keys() == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert body["Code"] == code


@pytest.mark.parametrize("header", ["x-acs-action", "x-acs-date", "x-acs-signature-nonce"])
def test_v3_with_a_changed_header_is_refused(provider: Provider, header: str) -> None:
    url, headers = v3(provider, "a")
    reply = requests.get(url, headers=headers | {header: headers[header] + "0"}, timeout=10)
    assert reply.status_code in {400, 404}
    assert reply.json()["Code"] in {
        "InvalidAction.NotFound",
        "InvalidTimeStamp.Format",
        "SignatureDoesNotMatch",
    }


def test_ten_ids_are_answered(provider: Provider) -> None:
    job_ids = [f"job{n}" for n in range(10)]
    assert ask(provider, v1(*job_ids)).json()["NonExistAIJobIds"]["String"] == job_ids


def test_a_nonce_works_once(provider: Provider, clock: Clock) -> None:
    assert ask(provider, v1("a")).status_code == 200
    clock.advance(14 * 60)
    assert ask(provider, v1("a")).json()["Code"] == "SignatureNonceUsed"
    assert ask(provider, v1("a", nonce="other")).status_code == 200


@pytest.mark.parametrize("seconds", [-15 * 60 - 1, 15 * 60 + 1])
def test_a_timestamp_is_good_for_15_minutes(provider: Provider, clock: Clock, seconds: int) -> None:
    clock.advance(seconds)
    reply = ask(provider, v1("a"))
    assert (reply.status_code, reply.json()["Code"]) == (400, "InvalidTimeStamp.Expired")
    clock.now = START + (1 if seconds > 0 else -1) * 15 * 60 * US_PER_SECOND
    assert ask(provider, v1("a")).status_code == 200


@pytest.mark.parametrize("job_type", ["AIVideoTag", "AIMediaDNA"])
@pytest.mark.parametrize("outcome", ["success", "fail"])
def test_a_job_goes_through_its_timetable(
    provider: Provider, clock: Clock, job_type: str, outcome: str
) -> None:
    (job_id,) = provider.make_jobs(
        {"type": job_type, "outcome": outcome, "init_seconds": 5, "seconds": 20, "data": '{"x":1}'}
    )
    assert len(bytes.fromhex(job_id)) == 16
    first = ask_again(provider, job_id, "1")
    assert first["Status"] == "init"
    clock.advance(5)
    second = ask_again(provider, job_id, "2")
    assert second["Status"] == "processing"
    assert not {"CompleteTime", "Data", "Code", "Message"} & (first.keys() | second.keys())
    clock.advance(15)
    last = ask_again(provider, job_id, "3")
    assert (last["Status"], last["Type"], last["JobId"]) == (outcome, job_type, job_id)
    assert last["CreationTime"] == first["CreationTime"] < last["CompleteTime"]
    assert last["MediaId"] == first["MediaId"]
    assert last.get("Data") == ('{"x":1}' if outcome == "success" else None)
    assert (last["Code"] == "0") is (outcome == "success")


def test_a_self_describing_id_starts_when_it_is_first_asked_for(provider: Provider, clock: Clock) -> None:
    clock.advance(60)
    job_id = "sandbox-dna-fail-30s-my-test"
    assert ask_again(provider, job_id, "1")["Status"] == "init"
    clock.advance(29)
    assert ask_again(provider, job_id, "2")["Status"] == "processing"
    clock.advance(1)
    ended = ask_again(provider, job_id, "3")
    assert (ended["Status"], ended["Type"]) == ("fail", "AIMediaDNA")


@pytest.mark.parametrize(
    "job_id", ["sandbox-tag-success-5s-", "sandbox-tag-success-s-x", "sandbox-x-fail-5s-x"]
)
def test_an_id_that_describes_itself_badly_is_unknown(provider: Provider, job_id: str) -> None:
    assert ask(provider, v1(job_id)).json()["NonExistAIJobIds"]["String"] == [job_id]


@given(st.text(min_size=1, max_size=20))
def test_results_look_like_the_providers_and_vary_with_the_id(job_id: str) -> None:
    jobs, again = Jobs(Clock()), Jobs(Clock())
    tag = jobs.create(f"{job_id}t", "AIVideoTag", "success", seconds=0)
    dna = jobs.create(f"{job_id}d", "AIMediaDNA", "success", seconds=0)
    assert tag.data == again.create(f"{job_id}t", "AIVideoTag", "success", seconds=9).data
    assert tag.data != jobs.create(f"{job_id}t2", "AIVideoTag", "success", seconds=0).data
    speech = json.loads(tag.data)["OrigASRData"]
    assert all(line["StartTime"] < line["EndTime"] for line in speech["AsrTextList"])
    assert int(speech["Duration"]) > 0
    assert {"Tag", "Times", "FaceUrl"} == json.loads(tag.data)["Person"][0].keys()
    match = json.loads(dna.data)["VideoDNA"][0]
    assert match.keys() == {"PrimaryKey", "Similarity", "Detail"}
    assert match["Detail"][0]["Duplication"].keys() == {"Start", "Duration"}


def test_a_job_can_be_shown_and_keeps_its_first_making(provider: Provider, clock: Clock) -> None:
    order = {"type": "AIVideoTag", "outcome": "success", "job_id": "mine", "seconds": 10}
    assert provider.make_jobs(order, order | {"seconds": 99}) == ["mine", "mine"]
    clock.advance(2)
    shown = requests.get(f"{provider.url}/sandbox/jobs/mine", timeout=10).json()
    assert (shown["Status"], shown["init_seconds"], shown["seconds"]) == ("processing", 2, 10)
    assert requests.get(f"{provider.url}/sandbox/jobs/other", timeout=10).status_code == 404


@pytest.mark.parametrize(
    "order",
    [
        "",
        "{}",
        '{"jobs": [{"type": "x", "outcome": "success", "seconds": 1}]}',
        '{"jobs": [], "more": "secret"}',
    ],
)
def test_a_wrong_order_is_refused_and_not_repeated(provider: Provider, order: str) -> None:
    reply = requests.post(f"{provider.url}/sandbox/jobs", data=order, timeout=10)
    assert reply.status_code == 422
    assert reply.json()["errors"]
    assert "secret" not in reply.text


def test_calls_are_counted(provider: Provider) -> None:
    ask(provider, v1("a", "b", "c"))
    ask(provider, v1("a", nonce="other"))
    ask(provider, {})
    calls = provider.calls()
    times = calls.pop("at")
    assert calls == {"calls": 3, "ids": 4, "ids_per_call": [3, 1, 0]}
    assert len(times) == 3
    assert times == sorted(times)


def test_a_raw_answer_is_given_as_often_as_ordered(provider: Provider) -> None:
    provider.answer_raw("<html>no", content_type="text/html", status=502, times=2)
    for _ in range(2):
        reply = ask(provider, {})
        assert (reply.status_code, reply.text) == (502, "<html>no")
        assert reply.headers["Content-Type"] == "text/html"
    assert ask(provider, v1("a")).status_code == 200


def test_temporary_credentials_are_checked_with_their_token(clock: Clock) -> None:
    temporary = Credentials("STS.x", "s", "tok+en==")
    with running_provider(clock=clock, credentials=temporary) as provider:
        assert ask(provider, v1("a", credentials=temporary)).status_code == 200
        without = replace(temporary, security_token=None)
        reply = ask(provider, v1("a", credentials=without, nonce="other"))
        assert reply.json()["Code"] == "InvalidSecurityToken.Malformed"


def test_a_connection_is_kept_also_after_a_body_nobody_read(provider: Provider) -> None:
    with requests.Session() as session:
        ports = set()
        for path in ("/nowhere", "/sandbox/jobs", "/sandbox/calls"):
            reply = session.post(provider.url + path, data=b"x" * 100_000, timeout=10, stream=True)
            connection = reply.raw.connection
            assert connection is not None
            ports.add(connection.sock.getsockname()[1])
            assert reply.content
        assert len(ports) == 1
