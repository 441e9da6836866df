"""The poll: claim, ask, record the result, against the sandbox over HTTP and on every database."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import update

from relay.common.states import JobStatus, WatchStatus
from relay.common.time import US_PER_SECOND
from relay.db.leases import GIVE_UP_AFTER
from relay.db.statements import longest_text
from relay.db.tables import Delivery, Job, Upstream, Watch
from relay.polling.rules.poll_policy import CLOSEST_POLLS, EVENLY, Plan, Quota
from relay.polling.upstream_guard import PROBE_AFTER
from relay.provider.source import Answer, Answered, JobReport, Outcome, RefusalKind, Refused, Unreachable
from relay.watches import registration
from tests.support.care import housekeeper_of
from tests.support.flow import World, fresh_job_id
from tests.support.polling import claim, no_call, poll_once, record
from tests.support.provider import Provider


def test_an_ended_job_ends_every_watch_with_one_delivery_each(world: World, provider: Provider) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    first = world.watch(job_id, "https://a.example/hook")
    second = world.watch(job_id, "https://b.example/hook", metadata='{"k":1}')
    poll_once(world, provider.client().ask)
    assert provider.calls()["calls"] == 1
    job = world.rows(Job, Job.job_id == job_id)[0]
    assert (job.status, job.due_at, job.token, job.type) == ("success", None, None, "AIVideoTag")
    assert job.data_is_json
    assert {row.status for row in world.rows(Watch)} == {WatchStatus.SUCCESS}
    pending = world.rows(Delivery)
    assert {row.watch_id for row in pending} == {first, second}
    assert {row.event for row in pending} == {"ai_job.success"}
    assert len(world.claim().taken) == 2


def test_a_job_that_goes_on_is_asked_again_as_soon_as_it_may_be_while_there_is_plenty(
    world: World, provider: Provider
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIMediaDNA", "outcome": "success", "seconds": 3600})
    world.watch(job_id)
    poll_once(world, provider.client().ask)
    job = world.rows(Job, Job.job_id == job_id)[0]
    assert (job.status, job.due_at, job.token) == ("open", world.now + CLOSEST_POLLS, None)
    assert world.rows(Delivery) == []


def test_a_failed_job_carries_the_providers_code(world: World, provider: Provider) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "fail", "seconds": 0})
    watch_id = world.watch(job_id)
    poll_once(world, provider.client().ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.FAIL
    assert world.rows(Delivery)[0].event == "ai_job.fail"
    assert world.rows(Job, Job.job_id == job_id)[0].code


def test_a_watch_that_does_not_want_the_event_gets_no_delivery(world: World, provider: Provider) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = world.watch(job_id, events="ai_job.fail")
    poll_once(world, provider.client().ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.SUCCESS
    assert world.rows(Delivery) == []


def test_a_watch_on_a_job_that_has_ended_already_gets_its_delivery_at_once(
    world: World, provider: Provider
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    world.watch(job_id, "https://a.example/hook")
    poll_once(world, provider.client().ask)
    late = world.watch(job_id, "https://b.example/hook")
    assert world.rows(Watch, Watch.id == late)[0].status == WatchStatus.SUCCESS
    assert len(world.rows(Delivery, Delivery.watch_id == late)) == 1
    assert poll_once(world, provider.client().ask) > 0
    assert provider.calls()["calls"] == 1


def test_a_job_unknown_to_the_provider_is_missing_after_its_grace_and_three_polls(
    world: World, provider: Provider
) -> None:
    watch_id = world.watch(fresh_job_id())
    statuses = []
    for _ in range(5):
        poll_once(world, provider.client().ask, grace=8)
        statuses.append(world.rows(Watch, Watch.id == watch_id)[0].status)
        world.later(5)
    assert statuses == ["waiting", "waiting", "missing", "missing", "missing"]
    assert [row.event for row in world.rows(Delivery)] == ["ai_job.missing"]
    assert provider.calls()["calls"] == 3
    job = world.rows(Job)[0]
    assert (job.status, job.due_at) == ("open", None)


def test_a_new_watch_on_a_missing_job_has_it_polled_again(world: World, provider: Provider) -> None:
    job_id = fresh_job_id()
    world.watch(job_id)
    for _ in range(3):
        poll_once(world, provider.client().ask, grace=0)
        world.later(5)
    provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0, "job_id": job_id})
    again = world.watch(job_id)
    assert world.rows(Watch, Watch.id == again)[0].status == WatchStatus.WAITING
    poll_once(world, provider.client().ask, grace=0)
    assert world.rows(Watch, Watch.id == again)[0].status == WatchStatus.SUCCESS


def test_calls_are_full_while_ten_jobs_wait(world: World, provider: Provider) -> None:
    ids = provider.make_jobs(
        *({"type": "AIVideoTag", "outcome": "success", "seconds": 3600} for _ in range(25))
    )
    world.register(*(world.request(job_id) for job_id in ids))
    for _ in range(22):
        poll_once(world, provider.client().ask)
        world.later(0.1)
    assert provider.calls()["ids_per_call"] == [10, 10, 10, 10]  # at 0, 0.1, 2 and 2.1 s: the last 5 wait


def test_fewer_than_ten_jobs_do_not_wait_for_more(world: World, provider: Provider) -> None:
    ids = provider.make_jobs(*({"type": "AIVideoTag", "outcome": "success", "seconds": 9} for _ in range(9)))
    for job_id in ids:
        world.watch(job_id)
        poll_once(world, provider.client().ask)
        world.later(0.1)
    assert provider.calls()["ids_per_call"] == [1] * 9


def test_all_pollers_keep_to_one_rate_limiter(world: World, provider: Provider) -> None:
    ids = provider.make_jobs(
        *({"type": "AIVideoTag", "outcome": "success", "seconds": 3600} for _ in range(30))
    )
    world.register(*(world.request(job_id) for job_id in ids))
    waits = [poll_once(world, provider.client().ask) for _ in range(3)]
    assert waits == pytest.approx([0.075] * 3)
    assert provider.calls()["calls"] == 1


def test_C13_a_poller_that_dies_after_the_answer_loses_nothing(world: World, provider: Provider) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = world.watch(job_id)
    died = claim(world, US_PER_SECOND)
    outcome = provider.client().ask([job.job_id for job in died.jobs])
    world.later(61)
    poll_once(world, provider.client().ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.SUCCESS
    assert isinstance(outcome, Answered)
    late = record(world, died, outcome.answer)
    assert late.lost == [job_id]
    assert len(world.rows(Delivery)) == 1


def test_a_job_whose_polls_are_lost_goes_alone_and_is_given_up_in_the_end(world: World) -> None:
    watch_id = world.watch("poison")
    others = [world.watch() for _ in range(3)]
    sizes = []
    for _ in range(GIVE_UP_AFTER):
        claimed = claim(world, 1)
        sizes.append(len(claimed.jobs))
        fine = Answer({}, frozenset(), None)
        others_of_it = tuple(job for job in claimed.jobs if job.job_id != "poison")
        record(world, replace(claimed, jobs=others_of_it), fine)
        world.later(61)
    assert sizes == [4, 4, 1, 1, 1]
    poll_once(world, no_call)
    row = world.rows(Watch, Watch.id == watch_id)[0]
    assert row.status == WatchStatus.FAIL
    assert world.rows(Job, Job.job_id == "poison")[0].code == "Relay.PollLost"
    assert {world.rows(Watch, Watch.id == other)[0].status for other in others} == {"waiting"}


def test_a_failed_call_gives_the_jobs_back_and_holds_the_fleet(world: World) -> None:
    world.watch()
    poll_once(world, lambda _ids: Unreachable("nobody answers"))
    job = world.rows(Job)[0]
    assert (job.token, job.lost_count) == (None, 0)
    state = world.rows(Upstream)[0]
    assert (state.failure_streak, state.error_code, state.down_since) == (1, "Unreachable", world.now)
    assert state.next_call_at > world.now
    assert poll_once(world, no_call) > 0


def test_refused_credentials_are_probed_once_a_minute_and_recover(world: World, provider: Provider) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    watch_id = world.watch(job_id)
    denied = Refused(RefusalKind.DENIED, "Forbidden.RAM", "not allowed", None, None, 403)
    poll_once(world, lambda _ids: denied)
    assert world.rows(Upstream)[0].next_call_at == world.now + PROBE_AFTER
    world.later(59)
    poll_once(world, no_call)
    world.later(1)
    poll_once(world, provider.client().ask)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.SUCCESS
    state = world.rows(Upstream)[0]
    assert (state.failure_streak, state.error_code, state.down_since) == (0, None, None)


def test_one_bad_id_is_found_by_splitting_and_ends_alone(world: World, provider: Provider) -> None:
    ids = provider.make_jobs(*({"type": "AIVideoTag", "outcome": "success", "seconds": 0} for _ in range(9)))
    bad = world.watch("bad-id")
    good = [world.watch(job_id) for job_id in ids]
    client = provider.client()
    calls = []

    def ask(job_ids: Sequence[str]) -> Outcome:
        calls.append(len(job_ids))
        world.later(1)
        if "bad-id" in job_ids:
            return Refused(RefusalKind.BAD_IDS, "InvalidJobId", "bad", None, None, 400)
        return client.ask(job_ids)

    poll_once(world, ask)
    assert len(calls) <= 9
    assert world.rows(Watch, Watch.id == bad)[0].status == WatchStatus.FAIL
    assert world.rows(Job, Job.job_id == "bad-id")[0].code == "InvalidJobId"
    assert {world.rows(Watch, Watch.id == one)[0].status for one in good} == {"success"}


def test_a_call_that_every_id_is_refused_for_ends_no_job(world: World) -> None:
    for _ in range(4):
        world.watch()
    refusal = Refused(RefusalKind.BAD_IDS, "InvalidVersion", "bad", None, None, 400)

    def ask(_job_ids: Sequence[str]) -> Outcome:
        world.later(1)
        return refusal

    poll_once(world, ask)
    assert {row.status for row in world.rows(Job)} == {"open"}
    assert world.rows(Upstream)[0].error_code == "InvalidVersion"


def test_an_id_named_in_neither_list_is_asked_again(world: World) -> None:
    world.watch()
    poll_once(world, lambda _ids: Answered(Answer({}, frozenset(), None), 0))
    job = world.rows(Job)[0]
    assert (job.status, job.missing_count, job.due_at) == ("open", 0, world.now + CLOSEST_POLLS)


def test_A8_a_watch_added_in_the_moment_its_job_ends_gets_exactly_one_delivery(
    world: World, provider: Provider
) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    world.watch(job_id, "https://first.example/hook")
    claimed = claim(world, US_PER_SECOND)
    outcome = provider.client().ask([job_id])
    assert isinstance(outcome, Answered)
    before = world.watch(job_id, "https://before.example/hook")
    record(world, claimed, outcome.answer)
    after = world.watch(job_id, "https://after.example/hook")
    for watch_id in (before, after):
        assert len(world.rows(Delivery, Delivery.watch_id == watch_id)) == 1


def test_a_watch_expires_at_its_deadline_even_if_the_provider_is_down(world: World) -> None:
    watch_id = world.watch(timeout=60)
    housekeeper = housekeeper_of(world)
    world.later(59.9)
    housekeeper.run_once()
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.WAITING
    world.later(0.1)
    housekeeper.run_once()
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.EXPIRED
    assert [row.event for row in world.rows(Delivery)] == ["watch.expired"]
    assert world.rows(Job)[0].due_at is None


def test_just_before_a_deadline_the_job_is_asked_once_more(world: World) -> None:
    world.watch("a-job", timeout=60)
    world.later(10)
    answer = Answer({"a-job": JobReport("a-job", JobStatus.OPEN)}, frozenset(), None)
    record(world, claim(world), answer, Plan({world.subscriber_id: Quota(EVENLY, longest=600)}))
    assert world.rows(Job)[0].due_at == world.now + 47 * US_PER_SECOND


def test_a_job_that_nobody_waits_for_is_not_polled(world: World) -> None:
    watch_id = world.watch()
    world.store.write(registration.cancel, world.subscriber_id, watch_id, world.now)
    assert world.rows(Job)[0].due_at is None
    assert poll_once(world, no_call) > 0


def test_equal_watches_that_wait_are_one_and_keep_their_deadline(world: World) -> None:
    job_id = fresh_job_id()
    first = world.register(world.request(job_id, metadata='{"a":1,"b":2}'))[0]
    world.later(10)
    again = world.register(world.request(job_id, metadata='{"b":2,"a":1}', timeout=3600))[0]
    assert (again.watch_id, again.created) == (first.watch_id, False)
    assert world.rows(Watch)[0].expires_at == world.now - 10 * US_PER_SECOND + 86_400 * US_PER_SECOND
    other = world.register(world.request(job_id, metadata='{"a":1}'))[0]
    assert other.created


def test_a_fan_out_of_many_watches_ends_in_one_poll(world: World, provider: Provider) -> None:
    (job_id,) = provider.make_jobs({"type": "AIVideoTag", "outcome": "success", "seconds": 0})
    world.register(*(world.request(job_id, metadata=f'{{"n":{n}}}') for n in range(1200)))
    poll_once(world, provider.client().ask)
    assert len(world.rows(Delivery)) == 1200
    assert provider.calls()["calls"] == 1


def test_a_job_made_due_by_hand_is_claimed_only_once(world: World) -> None:
    world.watch()
    world.store.write(lambda tx: tx.execute(update(Job).values(due_at=world.now - 5)))
    first = claim(world, 1)
    world.later(1)
    second = claim(world, 1)
    assert (len(first.jobs), len(second.jobs)) == (1, 0)
    assert world.rows(Job)[0].token == first.token
    assert world.rows(Job)[0].status == JobStatus.OPEN


def test_data_beyond_what_the_database_takes_is_left_out_and_the_job_still_ends(world: World) -> None:
    watch_id = world.watch("huge")
    limit = world.store.read(longest_text)
    if limit > 1 << 28:
        pytest.skip("this database takes every answer that can come")
    report = JobReport("huge", JobStatus.SUCCESS, "AIVideoTag", data="x" * (limit + 1))
    poll_once(world, lambda _ids: Answered(Answer({"huge": report}, frozenset(), None), 0))
    row = world.rows(Job)[0]
    assert (row.status, row.data, row.data_bytes) == ("success", None, limit + 1)
    assert world.rows(Watch, Watch.id == watch_id)[0].status == WatchStatus.SUCCESS
    assert len(world.claim().taken) == 1


def test_two_bad_ids_in_one_half_end_alone_once_the_provider_has_answered(world: World) -> None:
    bad = [world.watch("bad-1"), world.watch("bad-2")]
    good = [world.watch() for _ in range(8)]

    def ask(job_ids: Sequence[str]) -> Outcome:
        world.later(0.2)
        if {"bad-1", "bad-2"} & set(job_ids):
            return Refused(RefusalKind.BAD_IDS, "InvalidJobId", "bad", None, None, 400)
        return Answered(Answer({}, frozenset(), None), 0)

    poll_once(world, ask)
    assert {world.rows(Watch, Watch.id == one)[0].status for one in bad} == {"fail"}
    assert {world.rows(Watch, Watch.id == one)[0].status for one in good} == {"waiting"}
