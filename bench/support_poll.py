"""A simulated provider and a simulated relay, with a clock of their own.

The policy is the product's own (`relay.polling.rules.poll_policy`,
`relay.polling.rules.durations`); what is simulated is the provider's jobs, the rate limiter and the
queue of jobs, in the order in which the store claims them. Seconds.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from relay.common.time import US_PER_SECOND
from relay.polling.rules.durations import Curve, learn, remember
from relay.polling.rules.poll_policy import CLOSEST, Plan, Sample, crowded, polls_to_plan, quota_for
from relay.polling.sql.poll_policies import REFRESH as REFRESH_MICROS
from relay.polling.sql.poll_policies import SAMPLE
from relay.provider.list_ai_job.rules.response_parser import IDS_PER_CALL as IDS

REFRESH = REFRESH_MICROS / US_PER_SECOND
ROUND_TRIP = 0.05  # of a call
OWNER = "one"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of job whose durations are lognormal."""

    name: str
    median: float
    sigma: float

    @property
    def mean(self) -> float:
        """The mean duration."""
        return self.median * math.exp(self.sigma**2 / 2)

    def draw(self, rng: random.Random) -> float:
        """The duration of a new job."""
        return rng.lognormvariate(math.log(self.median), self.sigma)

    def draw_running(self, rng: random.Random) -> float:
        """The duration of a job met while it runs: the longer, the likelier it is met."""
        return rng.lognormvariate(math.log(self.median) + self.sigma**2, self.sigma)


MIXES = {
    "four types": (
        Kind("a", 60, 0.3),
        Kind("b", 120, 0.6),
        Kind("c", 300, 0.6),
        Kind("d", 600, 1.0),
    ),
    "two types": (Kind("AIVideoTag", 30, 1.0), Kind("AIMediaDNA", 240, 1.0)),
}


def mean_duration(mix: Sequence[Kind]) -> float:
    return sum(kind.mean for kind in mix) / len(mix)


@dataclass(slots=True, eq=False)
class Job:
    """A job of the provider, and what the relay knows of it."""

    kind: str
    began: float
    duration: float
    registered: float
    owner: str = OWNER
    polled: float = -math.inf
    polls: int = 0
    place: int = -1  # among the open ones
    found: float = math.nan

    @property
    def ended(self) -> float:
        """When the provider is done with it."""
        return self.began + self.duration

    @property
    def delay(self) -> float:
        """From its end, or its registration if that was later, until the relay knew."""
        return self.found - max(self.ended, self.registered)


def steady_jobs(mix: Sequence[Kind], in_flight: int, seconds: float, rng: random.Random) -> Iterator[Job]:
    """Jobs by time of registration: those in flight at 0 as in a long run, then as many as end.

    Each new job is of each type with the same chance.
    """
    weights = [kind.mean for kind in mix]
    for kind in rng.choices(mix, weights, k=in_flight):
        duration = kind.draw_running(rng)
        yield Job(kind.name, -rng.random() * duration, duration, 0.0)
    rate = in_flight / mean_duration(mix)
    now = rng.expovariate(rate)
    while now < seconds:
        kind = rng.choice(mix)
        yield Job(kind.name, now, kind.draw(rng), now)
        now += rng.expovariate(rate)


def fresh_jobs(mix: Sequence[Kind], in_flight: int, seconds: float, rng: random.Random) -> Iterator[Job]:
    """The same load, but jobs in flight at 0 begin then, with the time that they had left."""
    for job in steady_jobs(mix, in_flight, seconds, rng):
        left = job.ended - job.registered
        yield Job(job.kind, job.registered, left, job.registered)


@dataclass
class Learned:
    """The newest durations of each type, and the curves drawn from them at each refresh."""

    fresh: dict[str, list[float]] = field(default_factory=dict)
    known: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, duration: float) -> None:
        """Keep the duration of a job that has ended."""
        self.fresh.setdefault(kind, []).append(duration)

    def curves(self) -> dict[str, Curve]:
        """What is known of each type."""
        for kind, durations in self.fresh.items():
            self.known[kind] = remember(self.known.get(kind, []), durations)
        self.fresh.clear()
        return {kind: learn(durations) for kind, durations in self.known.items()}


class Simulation:
    """The relay over a stream of jobs: claims ten at a time, at the rate of calls.

    `outage` is a span in which calls bring no answer and are made once a minute.
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        calls_per_second: float,
        rng: random.Random,
        outage: tuple[float, float] = (math.inf, math.inf),
    ) -> None:
        self.calls = 0
        self.ids = 0
        self.finished: list[Job] = []
        self.open: list[Job] = []
        self._jobs = jobs
        self._next_job = next(jobs, None)
        self._interval = 1 / calls_per_second
        self._rng = rng
        self._outage = outage
        self._learned = Learned()
        self._plan = Plan()
        self._arrivals = 0
        self._arrival_rate = 0.0
        self._refresh_at = 0.0
        self._due: list[tuple[float, int, Job]] = []
        self._asked: deque[tuple[float, list[Job]]] = deque()
        self._ticket = 0
        self._now = 0.0

    def run(self, until: float) -> None:
        """Go on until this time."""
        now = self._now
        while now < until:
            self._register(now)
            self._record(now)
            if now >= self._refresh_at:
                self._refresh(now)
            chosen, wait_until = self._claim(now)
            if chosen:
                self._ask(chosen, now)
                down = self._outage[0] <= now < self._outage[1]
                wait_until = min(now + 60, self._outage[1]) if down else now + self._interval
            now = max(wait_until, now + 1e-6)
        self._now = now

    def _register(self, now: float) -> None:
        while self._next_job is not None and self._next_job.registered <= now:
            job = self._next_job
            job.place = len(self.open)
            self.open.append(job)
            self._arrivals += 1
            self._push(job, job.registered)
            self._next_job = next(self._jobs, None)

    def _push(self, job: Job, due: float) -> None:
        self._ticket += 1
        heapq.heappush(self._due, (due, self._ticket, job))

    def _claim(self, now: float) -> tuple[list[Job], float]:
        """Ten that are due or fill up the call; or none, and the time of the next try."""
        if not self._due or self._due[0][0] > now:
            return [], min(self._due[0][0] if self._due else math.inf, self._next_event(now))
        chosen: list[Job] = []
        passed: list[tuple[float, int, Job]] = []
        while self._due and len(chosen) < IDS and len(passed) < IDS:
            entry = heapq.heappop(self._due)
            if entry[2].polled <= now - CLOSEST:
                chosen.append(entry[2])
            else:
                passed.append(entry)
        for entry in passed:
            heapq.heappush(self._due, entry)
        short = IDS - len(chosen)
        if 0 < short <= len(passed):
            free_at = sorted(entry[2].polled for entry in passed)[short - 1] + CLOSEST
            for job in chosen:
                self._push(job, now)
            return [], min(free_at, self._next_event(now))
        return chosen, now

    def _next_event(self, now: float) -> float:
        registered = self._next_job.registered if self._next_job else math.inf
        answered = self._asked[0][0] if self._asked else math.inf
        return max(min(registered, answered), now)

    def _ask(self, chosen: list[Job], now: float) -> None:
        self.calls += 1
        self.ids += len(chosen)
        for job in chosen:
            job.polled = now
            job.polls += 1
        self._asked.append((now + ROUND_TRIP, chosen))

    def _record(self, now: float) -> None:
        while self._asked and self._asked[0][0] <= now:
            at, jobs = self._asked.popleft()
            asked_at = at - ROUND_TRIP
            if self._outage[0] <= asked_at < self._outage[1]:
                for job in jobs:
                    self._push(job, at + CLOSEST)
                continue
            for job in jobs:
                if job.ended <= asked_at + ROUND_TRIP / 2:
                    self._finish(job, at)
                else:
                    self._push(job, at + self._plan.interval(job.owner, job.kind, at - job.began))

    def _finish(self, job: Job, at: float) -> None:
        job.found = at
        self._learned.add(job.kind, job.duration)
        self.finished.append(job)
        last = self.open.pop()
        if last is not job:
            self.open[job.place] = last
            last.place = job.place

    def _refresh(self, now: float) -> None:
        """As `relay.polling.sql.poll_policies` does."""
        calls_per_second = 1 / self._interval
        seen = min(self._arrivals / REFRESH, calls_per_second * IDS) if now else 0.0
        polls = polls_to_plan(calls_per_second, IDS, min(seen, self._arrival_rate))
        self._arrival_rate, self._arrivals = seen, 0
        by_owner: dict[str, list[Job]] = {}
        for job in self.open:
            by_owner.setdefault(job.owner, []).append(job)
        curves = self._learned.curves()
        shares = {
            owner: quota_for(len(by_owner[owner]), self._looks(by_owner[owner]), curves, level)
            for owner, level in crowded({owner: len(jobs) for owner, jobs in by_owner.items()}, polls).items()
        }
        self._plan = Plan(shares, curves)
        self._refresh_at = now + REFRESH

    def _looks(self, jobs: list[Job]) -> list[Sample]:
        sample = self._rng.sample(jobs, min(SAMPLE, len(jobs)))
        return [Sample(job.kind, job.polled - job.began) for job in sample if job.polls]
