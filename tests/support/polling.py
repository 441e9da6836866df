"""Polls of a small world, one at a time: claims, results, and whole iterations of a poller."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.common.ids import NewId
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.polling.poller import Poller, PollerConfig
from relay.polling.rules.poll_policy import Plan
from relay.polling.sql import poll_claims, poll_results
from relay.polling.sql.poll_claims import PollClaim
from relay.polling.sql.poll_results import Tally
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.source import Answer, JobReport, JobSource, Outcome
from tests.support.flow import LEASE, StillClock, World, fresh_job_id

CALL_INTERVAL = US_PER_SECOND // 10

Ask = Callable[[Sequence[str]], Outcome]


@dataclass(frozen=True)
class ScriptedClient:
    """A client of a source that answers as a test scripts it, and can always be asked."""

    ask: Ask

    def why_not(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def no_call(_job_ids: Sequence[str]) -> Outcome:
    raise AssertionError("no call should be made")


def poller_config(new_id: NewId, *, grace: float = 600) -> PollerConfig:
    return PollerConfig(
        lease=LEASE,
        call_interval=CALL_INTERVAL,
        missing_grace=round(grace * US_PER_SECOND),
        new_id=new_id,
        new_token=fresh_job_id,
        jitter=lambda: 0.5,
    )


def poll_once(world: World, ask: Ask, *, grace: float = 600, source: JobSource = LIST_AI_JOB) -> float:
    """One iteration of a new poller, with its result recorded."""
    config = poller_config(world.new_id, grace=grace)
    poller = Poller(world.store, StillClock(world), source, ScriptedClient(ask), config)
    wait = poller.run_once()
    poller.drain()
    return wait


def claim(world: World, call_interval: Micros = CALL_INTERVAL, source: JobSource = LIST_AI_JOB) -> PollClaim:
    return world.store.write(
        poll_claims.claim,
        source,
        now=world.now,
        lease=LEASE,
        token=fresh_job_id(),
        call_interval=call_interval,
    )


def record(
    world: World, claimed: PollClaim, answer: Answer, plan: Plan | None = None, *, grace: float = 600
) -> Tally:
    return world.store.write(
        poll_results.record,
        claimed,
        answer,
        world.now,
        plan=plan or Plan(),
        new_id=world.new_id,
        missing_grace=round(grace * US_PER_SECOND),
    )


def record_open(
    world: World,
    claimed: PollClaim,
    plan: Plan,
    *,
    job_type: str | None = None,
    creation_time: str | None = None,
) -> Tally:
    """Record that the claimed jobs are still open."""
    reports = {
        job.job_id: JobReport(job.job_id, JobStatus.OPEN, job_type, creation_time=creation_time)
        for job in claimed.jobs
    }
    return record(world, claimed, Answer(reports, frozenset(), None), plan)
