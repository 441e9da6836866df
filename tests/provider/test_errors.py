"""The relay's reaction to each refusal, fault and strange answer, through the real client.

The rows are those of the table of errors in the design (upstream.md, section 4), and of the shapes
in its section 1. Nothing of it may crash, end a job wrongly, or lose one.
"""

import logging
import time
from collections.abc import Iterator

import pytest
import requests

from relay import telemetry
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.db.engine import Store
from relay.db.tables import Delivery, Job, Upstream, Watch
from relay.polling.rules.poll_policy import CLOSEST_POLLS
from relay.polling.upstream_guard import PROBE_AFTER
from relay.provider.list_ai_job.client import ListAIJob
from relay.provider.source import Answered, Outcome, RefusalKind, Refused, Unreachable, Unreadable
from relay.sandbox.responses import RESPONSES
from relay.telemetry.events import UpstreamClockSkewed
from relay.telemetry.metrics import UPSTREAM_CLOCK_AHEAD
from tests.support.flow import World
from tests.support.polling import poll_once
from tests.support.provider import Provider, running_provider
from tests.support.telemetry import logged

THROTTLING = ["Throttling", "Throttling.User", "Throttling.Api", "throttling.user", "Throttling.Anything.New"]
TRANSIENT = ["ServiceUnavailable", "ServiceUnavailableTemporary", "InternalError", "SomethingNobodyKnows"]
DENIED = [
    "InvalidAccessKeyId",
    "InvalidAccessKeyId.NotFound",
    "InvalidAccessKeyId.Inactive",
    "SignatureDoesNotMatch",
    "Forbidden",
    "Forbidden.RAM",
    "OperationDenied.Suspended",
    "InvalidSecurityToken.Expired",
    "MissingSecurityToken",
]
BAD_IDS = ["MissingJobIds", "InvalidParameter", "InvalidJobId.NotFound", "MissingParameter"]


@pytest.fixture
def client(provider: Provider) -> Iterator[ListAIJob]:
    client = provider.client(timeout=2.0)
    yield client
    client.close()


def refused(outcome: Outcome) -> Refused:
    assert isinstance(outcome, Refused), outcome
    return outcome


# What the client makes of each.


@pytest.mark.parametrize("status", [400, 429, 503])
@pytest.mark.parametrize("code", THROTTLING)
def test_throttling_is_known_by_its_code_whatever_the_status(
    provider: Provider, client: ListAIJob, code: str, status: int
) -> None:
    provider.fault("error", code=code, status=status, retry_after_ms=1500)
    answer = refused(client.ask(["a"]))
    assert (answer.kind, answer.code) == (RefusalKind.THROTTLED, code)
    assert answer.retry_after == 1_500_000


@pytest.mark.parametrize(
    ("header", "wait"), [(0, None), (-5, None), (1, 1000), (10**12, 600 * US_PER_SECOND), (None, None)]
)
def test_a_wait_that_is_asked_for_is_read_and_bounded(
    provider: Provider, client: ListAIJob, header: int | None, wait: int | None
) -> None:
    provider.fault("error", code="Throttling.User", status=429, retry_after_ms=header)
    assert refused(client.ask(["a"])).retry_after == wait


@pytest.mark.parametrize("status", [400, 403, 500, 503])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, RefusalKind.TRANSIENT) for code in TRANSIENT),
        *((code, RefusalKind.DENIED) for code in DENIED),
        *((code, RefusalKind.BAD_IDS) for code in BAD_IDS),
    ],
)
def test_the_code_decides_not_the_status(
    provider: Provider, client: ListAIJob, code: str, kind: RefusalKind, status: int
) -> None:
    provider.fault("error", code=code, status=status)
    answer = refused(client.ask(["a"]))
    assert (answer.kind, answer.code, answer.http_status) == (kind, code, status)
    assert provider.calls()["calls"] == 1


@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
def test_a_gateways_page_is_transient(provider: Provider, client: ListAIJob, status: int) -> None:
    provider.fault("gateway", status=status)
    assert refused(client.ask(["a"])) == Refused(RefusalKind.TRANSIENT, None, None, None, None, status)


@pytest.mark.parametrize(
    "code", ["SignatureNonceUsed", "InvalidTimeStamp.Expired", "InvalidTimestamp.Expired"]
)
def test_a_stale_signature_is_made_anew_once(provider: Provider, client: ListAIJob, code: str) -> None:
    provider.fault("error", code=code, times=1)
    assert isinstance(client.ask(["a"]), Answered)
    provider.fault("error", code=code, times=2)
    assert refused(client.ask(["a"])).kind is RefusalKind.SIGN_AGAIN
    assert provider.calls()["calls"] == 4


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong_is_corrected_and_told_of(
    provider: Provider, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    client = provider.client(on_clock_skew=lambda by: telemetry.emit(UpstreamClockSkewed(by)))
    assert isinstance(client.ask(["a"]), Answered)
    provider.fault("clock", seconds=seconds)
    with caplog.at_level(logging.WARNING, logger="relay"):
        assert isinstance(client.ask(["a"]), Answered)
        assert isinstance(client.ask(["a"]), Answered)
    client.close()
    assert client.clock_offset / US_PER_SECOND == pytest.approx(seconds, abs=2)
    assert [line.event for line in logged(caplog)] == ["upstream_clock_skewed"]
    (metric,) = UPSTREAM_CLOCK_AHEAD.collect()
    assert metric.samples[0].value == pytest.approx(seconds, abs=2)
    assert provider.calls()["calls"] == 4


@pytest.mark.parametrize(("kind", "order"), [("drip", {}), ("slow", {"seconds": 5})])
def test_an_answer_that_takes_too_long_is_given_up(
    provider: Provider, client: ListAIJob, kind: str, order: dict[str, float]
) -> None:
    provider.fault(kind, **order)
    started = time.monotonic()
    assert isinstance(client.ask(["a"]), Unreachable)
    assert time.monotonic() - started < 4.5
    provider.clear_faults()
    assert isinstance(client.ask(["a"]), Answered)


def test_a_slow_answer_within_the_time_is_an_answer(provider: Provider, client: ListAIJob) -> None:
    provider.fault("slow", seconds=0.3)
    outcome = client.ask(["a"])
    assert isinstance(outcome, Answered)
    assert outcome.duration > 0.3 * US_PER_SECOND


def test_a_broken_answer_is_none(provider: Provider, client: ListAIJob) -> None:
    provider.fault("broken")
    assert isinstance(client.ask(["a"]), Unreachable | Unreadable)


def test_a_redirect_leads_nowhere(provider: Provider, client: ListAIJob) -> None:
    with running_provider() as elsewhere:
        provider.fault("redirect", location=f"{elsewhere.url}/")
        assert refused(client.ask(["a"])).http_status == 302
        assert elsewhere.calls()["calls"] == 0


def test_a_poisonous_id_refuses_its_whole_batch(provider: Provider, client: ListAIJob) -> None:
    provider.fault("poison", job_id="bad")
    assert refused(client.ask(["a", "bad"])).kind is RefusalKind.BAD_IDS
    assert isinstance(client.ask(["a"]), Answered)


def test_faults_are_shown_count_down_and_are_refused_where_they_are_none(provider: Provider) -> None:
    provider.fault("gateway", status=502, times=2)
    provider.client().ask(["a"])
    place = f"{provider.url}/sandbox/faults"
    shown = requests.get(place, timeout=10).json()
    assert shown == {"faults": [{"kind": "gateway", "status": 502, "times": 1}]}
    orders: list[dict[str, str]] = [
        {"kind": "flood"},
        {"kind": "shape", "name": "round"},
        {"kind": "error"},
        {},
    ]
    for order in orders:
        assert requests.post(place, json=order, timeout=10).status_code == 422


# What the poller makes of each: no job is lost, and none ends that has not.


FAILURES: list[tuple[str, dict[str, object]]] = [
    ("error", {"code": "Throttling.User", "status": 429}),
    ("error", {"code": "ServiceUnavailable", "status": 503}),
    ("error", {"code": "InternalError", "status": 500}),
    ("error", {"code": "SignatureNonceUsed", "status": 400}),
    ("error", {"code": "Forbidden.RAM", "status": 403}),
    ("error", {"code": "InvalidAccessKeyId.NotFound", "status": 404}),
    ("gateway", {"status": 502}),
    ("broken", {}),
    ("drip", {}),
    ("redirect", {"location": "http://127.0.0.1:1/"}),
]


@pytest.mark.parametrize(("kind", "order"), FAILURES)
def test_a_failed_call_loses_no_job_and_the_next_answer_ends_it(
    world: World, provider: Provider, client: ListAIJob, kind: str, order: dict[str, object]
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = world.watch(job_id)
    provider.fault(kind, **order)
    poll_once(world, client.ask)
    job, state = world.rows(Job)[0], world.rows(Upstream)[0]
    assert (job.status, job.token, job.missing_count) == (JobStatus.OPEN, None, 0)
    assert state.down_since == world.now
    assert state.next_call_at > world.now
    assert world.rows(Delivery) == []
    provider.clear_faults()
    world.later(61)
    poll_once(world, client.ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "success"
    assert world.rows(Upstream)[0].down_since is None
    assert len(world.rows(Delivery)) == 1


def test_a_wait_that_throttling_asks_for_holds_the_whole_fleet(
    world: World, provider: Provider, client: ListAIJob
) -> None:
    world.watch()
    provider.fault("error", code="Throttling.User", status=503, retry_after_ms=45_000)
    poll_once(world, client.ask)
    assert world.rows(Upstream)[0].next_call_at >= world.now + 45 * US_PER_SECOND
    world.later(44)
    poll_once(world, client.ask)
    assert provider.calls()["calls"] == 1


@pytest.mark.parametrize("code", DENIED)
def test_while_the_provider_denies_us_it_is_probed_once_a_minute(
    world: World, provider: Provider, client: ListAIJob, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = world.watch(job_id)
    provider.fault("error", code=code, status=403)
    with caplog.at_level(logging.ERROR, logger="relay"):
        poll_once(world, client.ask)
    assert world.rows(Upstream)[0].next_call_at == world.now + PROBE_AFTER
    assert world.rows(Upstream)[0].error_code == code
    assert [line.fields["code"] for line in logged(caplog)] == [code]
    world.later(59)
    poll_once(world, client.ask)
    assert provider.calls()["calls"] == 1
    provider.clear_faults()
    world.later(1)
    poll_once(world, client.ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "success"


def test_a_poisonous_id_is_found_and_ends_alone_with_the_providers_code(
    world: World, provider: Provider
) -> None:
    ids = provider.make_jobs(*({"type": "AIMediaDNA", "outcome": "success", "seconds": 0} for _ in range(9)))
    bad = world.watch("bad")
    good = [world.watch(job_id) for job_id in ids]
    provider.fault("poison", job_id="bad", code="InvalidJobId.Malformed")
    client = provider.client()

    def ask(job_ids: object) -> Outcome:
        world.later(1)  # the calls of a split wait for the rate limiter, and this clock moves only by hand
        return client.ask(job_ids)  # type: ignore[arg-type]

    poll_once(world, ask)
    client.close()
    assert provider.calls()["calls"] <= 9
    assert world.rows(Watch, Watch.id == bad)[0].status == "fail"
    assert world.rows(Job, Job.job_id == "bad")[0].code == "InvalidJobId.Malformed"
    assert {world.rows(Watch, Watch.id == one)[0].status for one in good} == {"success"}


ENDED_ALL_THE_SAME = {
    "missing_as_json_text",
    "missing_as_list_of_json_text",
    "missing_joined_by_commas",
    "missing_absent",
    "bare_lists",
    "one_job_without_a_list",
    "upper_case_status",
    "numeric_code",
    "unknown_type",
    "no_data",
    "data_as_object",
    "data_is_no_json",
    "twice",
    "with_strangers",
}


@pytest.mark.parametrize("shape", RESPONSES)
def test_a_strange_answer_is_understood_or_the_job_is_asked_again(
    world: World, provider: Provider, client: ListAIJob, shape: str
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = world.watch(job_id)
    stranger = world.watch("stranger-1")
    provider.fault("shape", name=shape, times=1)
    poll_once(world, client.ask)
    jobs = {job.job_id: job for job in world.rows(Job)}
    assert jobs.keys() == {job_id, "stranger-1"}
    assert jobs["stranger-1"].status == JobStatus.OPEN  # what is said of it contradicts itself, at best
    if shape in ENDED_ALL_THE_SAME:
        assert jobs[job_id].status == JobStatus.SUCCESS
        assert world.rows(Watch, Watch.id == watch_id)[0].status == "success"
        return
    assert (jobs[job_id].status, jobs[job_id].token) == (JobStatus.OPEN, None)
    assert jobs[job_id].due_at >= world.now + CLOSEST_POLLS
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "waiting"
    assert world.rows(Watch, Watch.id == stranger)[0].status == "waiting"
    assert world.rows(Delivery) == []
    world.later(61)
    poll_once(world, client.ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == "success"


@pytest.mark.parametrize("shape", [name for name in RESPONSES if name.startswith("missing")])
def test_every_spelling_of_a_missing_job_is_read(
    world: World, provider: Provider, client: ListAIJob, shape: str
) -> None:
    for job_id in ("gone-1", "gone-2"):
        world.watch(job_id)
    provider.fault("shape", name=shape)
    poll_once(world, client.ask)
    counted = {job.missing_count for job in world.rows(Job)}
    assert counted == ({0} if shape == "missing_absent" else {1})


# The rate limit, as the provider sees it.


def test_calls_in_any_second_stay_within_the_rate(own_store: Store, provider: Provider) -> None:
    world = World(own_store)
    ids = provider.make_jobs(
        *({"type": "AIVideoTag", "outcome": "success", "seconds": 3600} for _ in range(60))
    )
    world.register(*(world.request(job_id) for job_id in ids))
    client = provider.client()
    first, began = world.now, time.monotonic()
    while (elapsed := time.monotonic() - began) < 1.5:
        world.now = first + round(elapsed * US_PER_SECOND)
        poll_once(world, client.ask)
    client.close()
    times = provider.calls()["at"]
    assert len(times) >= 6
    busiest = max(sum(start <= at < start + 1 for at in times) for start in times)
    assert busiest <= 11
