"""A simulated provider and a simulated relay with a clock of their own, and the rivals they are measured by.

The policy is the product's own (`relay.core.poll_policy`, `relay.core.durations`); what is simulated is the
provider's jobs, the call budget and the queue of jobs, in the order in which the store claims them. Seconds.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from relay.core.durations import KEPT, Curve, learn
from relay.core.poll_policy import CLOSEST, Look, Plan, make_plan
from relay.store.policy import REFRESH, SAMPLE

IDS = 10
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
        return self.median * math.exp(self.sigma**2 / 2)

    def draw(self, dice: random.Random) -> float:
        return dice.lognormvariate(math.log(self.median), self.sigma)

    def draw_running(self, dice: random.Random) -> float:
        """The duration of a job met while it runs: the longer, the likelier it is met."""
        return dice.lognormvariate(math.log(self.median) + self.sigma**2, self.sigma)

    def survival(self, age: float) -> float:
        if age <= 0:
            return 1.0
        return NormalDist().cdf((math.log(self.median) - math.log(age)) / self.sigma)


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
        return self.began + self.duration

    @property
    def delay(self) -> float:
        """From its end, or its registration if that was later, until the relay knew."""
        return self.found - max(self.ended, self.registered)


def steady_jobs(mix: Sequence[Kind], in_flight: int, seconds: float, dice: random.Random) -> Iterator[Job]:
    """Jobs by time of registration: those in flight at 0 as in a long run, then as many as end, at random.

    Each new job is of each type with the same chance.
    """
    weights = [kind.mean for kind in mix]
    for kind in dice.choices(mix, weights, k=in_flight):
        duration = kind.draw_running(dice)
        yield Job(kind.name, -dice.random() * duration, duration, 0.0)
    pace = in_flight / mean_duration(mix)
    now = dice.expovariate(pace)
    while now < seconds:
        kind = dice.choice(mix)
        yield Job(kind.name, now, kind.draw(dice), now)
        now += dice.expovariate(pace)


@dataclass
class Learned:
    """The newest durations of each type, and the curves drawn from them."""

    durations: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, kind: str, duration: float) -> None:
        self.durations.setdefault(kind, deque(maxlen=KEPT)).append(duration)

    def curves(self) -> dict[str, Curve]:
        return {kind: learn(list(durations)) for kind, durations in self.durations.items()}


class Simulation:
    """The relay over a stream of jobs: claims ten at a time at the pace of the budget, until `seconds`.

    `outage` is a span in which calls bring no answer (and are made once a minute).
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        calls_per_second: float,
        dice: random.Random,
        outage: tuple[float, float] = (math.inf, math.inf),
    ) -> None:
        self.calls = 0
        self.ids = 0
        self.finished: list[Job] = []
        self.open: list[Job] = []
        self._jobs = jobs
        self._next_job = next(jobs, None)
        self._interval = 1 / calls_per_second
        self._dice = dice
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

    def run(self, seconds: float) -> None:
        now = self._now
        while now < seconds:
            self._register(now)
            self._settle(now)
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
        """Ten that are due or may be topped up with; none and the time to look again."""
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

    def _settle(self, now: float) -> None:
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
                    self._push(job, at + self._plan.gap(job.owner, job.kind, at - job.began))

    def _finish(self, job: Job, at: float) -> None:
        job.found = at
        self._learned.add(job.kind, job.duration)
        self.finished.append(job)
        last = self.open.pop()
        if last is not job:
            self.open[job.place] = last
            last.place = job.place

    def _refresh(self, now: float) -> None:
        """As `relay.store.policy` does."""
        looks = [
            Look(job.owner, job.kind, job.polled - job.began)
            for job in self._dice.sample(self.open, min(SAMPLE, len(self.open)))
            if job.polls
        ]
        counts: dict[str, int] = {}
        for job in self.open:
            counts[job.owner] = counts.get(job.owner, 0) + 1
        seen = self._arrivals / REFRESH if now else 0.0
        self._arrival_rate += (seen - self._arrival_rate) / 6 if now else 0.0
        self._arrivals = 0
        polls = max(IDS / self._interval - self._arrival_rate, IDS / self._interval / 10)
        self._plan = make_plan(counts, looks, self._learned.curves(), polls)
        self._refresh_at = now + REFRESH


def even_interval(jobs: Sequence[Job], polls: float) -> tuple[float, list[float]]:
    """The fixed interval that costs as many polls as were used for these jobs, and the delays it gives.

    It too asks at registration. It is given a budget without bounds in time and a settle that takes no time.
    """
    low, high = CLOSEST, 1e6
    for _ in range(60):
        gap = math.sqrt(low * high)
        cost = sum(1 + max(math.ceil((job.ended - job.registered) / gap), 0) for job in jobs)
        low, high = (gap, high) if cost > polls else (low, gap)
    delays = []
    for job in jobs:
        left = job.ended - job.registered
        delays.append(max(math.ceil(left / high), 0) * high - max(left, 0.0))
    return high, delays
