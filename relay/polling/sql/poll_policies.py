"""The poll policy of a source, shared by all pollers: what jobs take, and the owners' quotas.

Every poller reads the policy anew each ten seconds; the first that finds it ten seconds old
refreshes it from a sample of the open jobs. What it decides is pure:
`relay.polling.rules.poll_policy`.
"""

import json
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from sqlalchemy import func, select, update

from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Store, Tx
from relay.db.statements import insert_if_absent, lock
from relay.db.tables import Job, JobType, PollPolicy, Upstream
from relay.polling.rules.durations import Curve, age_of, learn, remember, type_key
from relay.polling.rules.poll_policy import Plan, Quota, Sample, crowded, polls_to_plan, quota_for
from relay.provider.source import JobSource

REFRESH = 10 * US_PER_SECOND  # time enough for a load to change by some per cent
SAMPLE = 600  # open jobs of an owner: they give the cost of a threshold to two or three per cent
OWNERS_SAMPLED = 30  # of more who want more than their quota, the smaller ones are polled evenly
TYPES = 100  # learned apart; the page knows two, and combinations of them


@dataclass(frozen=True, slots=True)
class Survey:
    """Open jobs by owner, and samples of those whose owners want more than their quota."""

    quotas: Mapping[str, float]
    counts: Mapping[str, int]
    samples: Mapping[str, list[Sample]]
    newest_job: int
    new_jobs: float


class Policy:
    """What one process knows of the policy, and what it has learned since it last wrote that down.

    Threads may share it. `call_interval` is the rate limiter's.
    """

    def __init__(self, store: Store, source: JobSource, call_interval: Micros) -> None:
        self.plan = Plan()
        self._store = store
        self._source = source
        self._calls_per_second = US_PER_SECOND / call_interval
        self._lock = threading.Lock()
        self._learned: list[tuple[str, float]] = []
        self._read_at: Micros | None = None

    def learn(self, durations: Iterable[tuple[str, float]]) -> None:
        """Remember how long jobs took that have ended: (type, seconds)."""
        with self._lock:
            self._learned += durations

    def is_due(self, now: Micros) -> bool:
        """Whether it is time to `keep_up`; says so once."""
        with self._lock:
            if self._read_at is not None and 0 <= now - self._read_at < REFRESH:
                return False
            self._read_at = now
            return True

    def keep_up(self, now: Micros) -> None:
        """Write down what was learned, refresh the policy if nobody else has, and read it."""
        name = self._source.name
        with self._lock:
            learned, self._learned = self._learned, []
        if learned:
            self._store.write(record, name, learned)
        if self._store.write(claim_refresh, name, now):
            surveyed = self._store.read(survey, self._source, now, self._calls_per_second)
            curves = self._store.read(read_curves, name)
            quotas = {
                owner: quota_for(surveyed.counts[owner], surveyed.samples.get(owner, []), curves, polls)
                for owner, polls in surveyed.quotas.items()
            }
            self._store.write(save, name, surveyed, quotas)
        self.plan = self._store.read(read, name)


def record(tx: Tx, source: str, learned: Iterable[tuple[str, float]]) -> None:
    """Keep the newest durations of each type; a flood of types beyond a hundred is not learned."""
    by_type = {
        name: [seconds for _, seconds in pairs]
        for name, pairs in groupby(sorted(learned, key=itemgetter(0)), key=itemgetter(0))
    }
    statement = lock(select(JobType.name, JobType.durations).where(JobType.source == source))
    known = {row.name: row.durations for row in tx.execute(statement.order_by(JobType.name))}
    fresh = [name for name in by_type if name not in known][: max(TYPES - len(known), 0)]
    insert_if_absent(tx, JobType, [{"source": source, "name": name, "durations": "[]"} for name in fresh])
    for name in sorted({*fresh, *known} & by_type.keys()):
        durations = remember(json.loads(known.get(name, "[]")), by_type[name])
        this_type = (JobType.source == source) & (JobType.name == name)
        tx.execute(update(JobType).where(this_type).values(durations=json.dumps(durations)))


def claim_refresh(tx: Tx, source: str, now: Micros) -> bool:
    """Whether the policy is to be refreshed now, and by the caller."""
    own = PollPolicy.source == source
    if tx.scalar(select(PollPolicy.refreshed_at).where(own)) is None:
        fresh = {"source": source, "refreshed_at": 0, "newest_job": 0, "new_jobs": 0.0, "quotas": "{}"}
        insert_if_absent(tx, PollPolicy, [fresh])
    stale = PollPolicy.refreshed_at <= now - REFRESH
    return tx.execute(update(PollPolicy).where(own, stale).values(refreshed_at=now)).rowcount == 1


def survey(tx: Tx, source: JobSource, now: Micros, calls_per_second: float) -> Survey:
    """Count open jobs by owner, and sample those of owners who want more than their quota."""
    most = calls_per_second * source.ids_per_call
    newest, new_jobs, before = _arrivals(tx, source.name, most)
    factor = tx.scalar(select(Upstream.rate_factor).where(Upstream.source == source.name)) or 1.0
    owned = (
        select(Job.owner, func.count().label("jobs"))
        .where(Job.source == source.name, Job.owner.is_not(None))
        .group_by(Job.owner)
    )
    counts = {str(row.owner): int(row.jobs) for row in tx.execute(owned)}
    polls = polls_to_plan(calls_per_second * factor, source.ids_per_call, min(new_jobs, before))
    quotas = crowded(counts, polls)
    largest = sorted(quotas, key=lambda owner: -counts[owner])[:OWNERS_SAMPLED]
    samples = {owner: _sample(tx, source.name, owner, counts[owner], now) for owner in largest}
    return Survey(quotas, counts, samples, newest, new_jobs)


def _arrivals(tx: Tx, source: str, most: float) -> tuple[int, float, float]:
    """The newest job, and the source's new jobs a second since the last refresh and before it.

    The smaller of the two is planned for: a rush is not taken for a flow. No more are counted than
    the `most` that can be asked about in a second allow.
    """
    before = tx.execute(
        select(PollPolicy.newest_job, PollPolicy.new_jobs).where(PollPolicy.source == source)
    ).one()
    newest = tx.scalar(select(func.max(Job.id))) or 0
    if not before.newest_job:
        return newest, 0.0, before.new_jobs
    seconds = REFRESH / US_PER_SECOND
    newer = (
        select(Job.id)
        .where(Job.id > before.newest_job, Job.source == source)
        .limit(math.ceil(most * seconds))
    )
    count = tx.execute(select(func.count()).select_from(newer.subquery())).scalar_one()
    return newest, min(count / seconds, most), before.new_jobs


def _sample(tx: Tx, source: str, owner: str, count: int, now: Micros) -> list[Sample]:
    """Every nth of an owner's jobs that were asked about: numbers do not depend on ages."""
    stride = max(count // SAMPLE, 1)
    rows = select(Job.type, Job.creation_time, Job.created_at, Job.polled_at).where(
        Job.source == source,
        Job.owner == owner,
        Job.polled_at.is_not(None),
        Job.id % stride == now // REFRESH % stride,
    )
    return [
        Sample(type_key(row.type), age_of(row.creation_time, row.created_at, row.polled_at))
        for row in tx.execute(rows.limit(2 * SAMPLE))
    ]


def save(tx: Tx, source: str, survey: Survey, quotas: Mapping[str, Quota]) -> None:
    """Write down the quotas for all pollers."""
    saved = {owner: [quota.threshold, quota.longest] for owner, quota in quotas.items()}
    tx.execute(
        update(PollPolicy)
        .where(PollPolicy.source == source)
        .values(newest_job=survey.newest_job, new_jobs=survey.new_jobs, quotas=json.dumps(saved))
    )


def read(tx: Tx, source: str) -> Plan:
    """The plan in force."""
    text = tx.scalar(select(PollPolicy.quotas).where(PollPolicy.source == source))
    quotas = {
        owner: Quota(threshold, longest) for owner, (threshold, longest) in json.loads(text or "{}").items()
    }
    return Plan(quotas, read_curves(tx, source))


def read_curves(tx: Tx, source: str) -> dict[str, Curve]:
    """How long the jobs of each type take."""
    rows = tx.execute(select(JobType.name, JobType.durations).where(JobType.source == source))
    return {row.name: learn(json.loads(row.durations)) for row in rows}
