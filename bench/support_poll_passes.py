"""The cost of a poll pass to the database: ten claims and results, few and many waiting jobs."""

import secrets
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import text

from bench.support_machine import median, say
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND
from relay.db.engine import Store
from relay.polling.rules.poll_policy import EVENLY, Plan, Quota
from relay.polling.sql.poll_claims import claim
from relay.polling.sql.poll_policies import REFRESH, Policy
from relay.polling.sql.poll_results import record
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.source import Answer, JobReport
from tests.support.database import KINDS, fresh_database
from tests.support.flow import World

FEW, MANY = 1_000, 100_000
CALLS = 10
AT_ONCE = 1_000  # watches of one registration
CREATED = "2026-01-02T03:04:05Z"


class Waiting:
    """A database in which so many jobs of one subscriber wait, all due, and ten of another."""

    def __init__(self, url: str, count: int) -> None:
        self.store = Store(url)
        self.world = World(self.store, now=time.time_ns() // 1000)
        self.count = count
        for first in range(0, count, AT_ONCE):
            names = (f"{first + number:08d}" for number in range(min(AT_ONCE, count - first)))
            self.world.register(*(self.world.request(name) for name in names))
        self.world.subscriber_id = self.world.new_subscriber()
        self.world.register(*(self.world.request(f"other-{number}") for number in range(10)))
        with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self.store.dialect.name == "postgresql":
                connection.execute(text("VACUUM ANALYZE"))
        self._plan = Plan({owner: Quota(EVENLY, count / 100) for owner in self._owners()})

    def run_pass(self) -> float:
        """Seconds of a pass: the calls' claims and results, ten jobs each, all still open."""
        began = time.perf_counter()
        for _ in range(CALLS):
            self.world.later(0.1)
            claimed = self.store.write(
                claim,
                LIST_AI_JOB,
                now=self.world.now,
                lease=60 * US_PER_SECOND,
                token=secrets.token_hex(16),
                call_interval=1,
            )
            assert len(claimed.jobs) == 10, claimed
            reports = {
                job.job_id: JobReport(job.job_id, JobStatus.OPEN, "AIVideoTag", creation_time=CREATED)
                for job in claimed.jobs
            }
            self.store.write(
                record,
                claimed,
                Answer(reports, frozenset(), None),
                self.world.now,
                plan=self._plan,
                new_id=self.world.new_id,
                missing_grace=0,
            )
        return time.perf_counter() - began

    def run_refresh(self) -> float:
        """Seconds of a refresh of the policy, which the fleet makes every ten."""
        policy = Policy(self.store, LIST_AI_JOB, US_PER_SECOND // 10)
        self.world.now += REFRESH
        began = time.perf_counter()
        policy.keep_up(self.world.now)
        return time.perf_counter() - began

    def _owners(self) -> list[str]:
        statement = text("SELECT DISTINCT owner FROM jobs WHERE owner IS NOT NULL")
        return list(self.store.read(lambda tx: tx.scalars(statement).all()))


def passes(rounds: int, many: int = MANY) -> list[list[str]]:
    """For each database the ratio of many to few, and their milliseconds."""
    rows = []
    for kind in KINDS:
        with ExitStack() as stack:
            sizes = []
            for count in (FEW, many):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                sizes.append(Waiting(stack.enter_context(fresh_database(kind, folder)), count))
                stack.callback(sizes[-1].store.close)
                say(f"{kind}: {count:,} jobs wait")
            few, more = _interleaved(sizes, rounds)
            refreshes = [size.run_refresh() * 1000 for size in sizes]
        rows.append(
            [kind, f"{more / few:.2f}", f"{few * 1000:.0f}", f"{more * 1000:.0f}"]
            + [f"{refresh:.0f}" for refresh in refreshes]
        )
    return rows


def _interleaved(sizes: list[Waiting], rounds: int) -> list[float]:
    """The median seconds of a pass of each, after one that warms up."""
    spent = [[size.run_pass() for size in sizes] for _ in range(rounds + 1)][1:]
    return [median(column) for column in zip(*spent, strict=True)]
