"""When a job is asked about again: each poll is spent where it saves most, and just the budget is spent.

A job that ends between two polls g apart is noticed g/2 late on average. Polled with gap g(t) at
age t, a job with survival S and hazard h costs ∫ S/g polls and is noticed ∫ S·h·g/2 late. Of all
ways to spend the same polls the least delay has h·g² equal for all jobs and ages (Lagrange; J. B.
Keller, "Optimum checking schedules for systems subject to random failure", Management Science 21,
1974). As h·g is the chance to end:

    gap · chance that the job ends within it = the same for all polls

That holds while the chance is small. Where polls are so scarce that it is not, the exact optimum is
known for jobs without memory (h constant, H = h·g): a poll priced at `gain` seconds of delay is due
when

    worth(g) = g · (e^H - 1 - H) / H = gain

since there the cost of a running job, v = (gain + g - P/h) / P with P = 1 - e^-H, is least. For
small H this is half of gap · chance; so it is the one rule, with the hazard that is gathered over
the gap for H.

The gain is set by feed-forward: from a sample of open jobs it is known how many polls a second each
gain will cost, so the one that costs what there is can be computed rather than steered to. Each
subscriber who wants more than its max-min fair share has a gain of its own; the others are polled
as often as is allowed. Seconds throughout, but for the times of `next_poll` and `upstream_backoff`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.common.time import US_PER_SECOND, Micros
from relay.polling.rules.durations import Curve, learn

CLOSEST_POLLS = 2 * US_PER_SECOND  # no job is asked about more often (upstream.md, section 5)
LAST_POLL_BEFORE = 3 * US_PER_SECOND  # before a watch's deadline its job is asked once more
CLOSEST = CLOSEST_POLLS / US_PER_SECOND
CAP = 1.47  # times the gap of even polling: bounds the worst delays, and costs the mean a hundredth or two
FILL = 1.02  # of the budget is planned for: a job due too early waits a moment, a call not made is lost
LEAST_FOR_POLLS = 0.1  # of the budget, however many jobs are new and to be asked about for the first time
EVENLY = 1e9  # a gain that no gap is worth: each is the longest
LEAST_THRESHOLD = 1e-9
SOLVED_TO, SOLVED_AFTER = 0.005, 12  # of the polls; steps
PRIOR = learn([])


@dataclass(frozen=True, slots=True)
class Sample:
    """An open job as the plan sees it: its type, and its age when it was last asked about."""

    type: str
    age: float


@dataclass(frozen=True, slots=True)
class Quota:
    """What a subscriber's jobs are polled by: the gain of a poll, and the longest gap."""

    threshold: float
    longest: float


PLENTY = Quota(threshold=0.0, longest=CLOSEST)  # everything can be polled as often as is allowed


@dataclass(frozen=True, slots=True)
class Plan:
    """The policy until the next refresh: shares by owner, curves by type. Who is not in it has plenty."""

    quotas: Mapping[str, Quota] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def interval(self, owner: str, job_type: str, age: float) -> float:
        """Seconds until a job that is open at this age is asked about again."""
        quota = self.quotas.get(owner, PLENTY)
        return interval(self.curves.get(job_type, PRIOR), quota, age)


def interval(curve: Curve, quota: Quota, age: float) -> float:
    """The gap after a poll at this age: as long as the gain asks for, within the two bounds."""
    if quota.longest <= CLOSEST:
        return CLOSEST
    return max(curve.interval_for(quota.threshold, age, quota.longest), CLOSEST)


def crowded(open_jobs: Mapping[str, int], polls: float) -> dict[str, float]:
    """Who can't have all jobs polled as often as is allowed, and the polls a second that are theirs.

    `open_jobs` counts by owner. Owners who need less than an even share get what they need, and
    what they leave is shared by the others: max-min fair.
    """
    left = polls * FILL
    by_need = sorted(open_jobs, key=lambda owner: open_jobs[owner])
    for position, owner in enumerate(by_need):
        level = left / (len(by_need) - position)
        if open_jobs[owner] / CLOSEST > level:
            return dict.fromkeys(by_need[position:], level)
        left -= open_jobs[owner] / CLOSEST
    return {}


def quota_for(count: int, samples: Sequence[Sample], curves: Mapping[str, Curve], polls: float) -> Quota:
    """The share by which `count` jobs cost `polls` a second; `looks` is a sample that stands for all of them.

    Without a sample they are polled evenly. A job costs a poll per gap, whatever its age in it: so
    the gap that counts is the one it is in, which began when it was last asked about.
    """
    even = max(count / polls, CLOSEST)
    if not samples:
        return Quota(threshold=EVENLY, longest=even)
    drawn = [(curves.get(sample.type, PRIOR), sample.age) for sample in samples]
    quota = Quota(threshold=even / 8, longest=max(even * CAP, CLOSEST))
    for _ in range(SOLVED_AFTER):
        cost = count * sum(1 / interval(curve, quota, age) for curve, age in drawn) / len(drawn)
        if abs(cost - polls) < SOLVED_TO * polls:
            break
        # Between the bounds a gap is as the root of the gain, so the cost is as one over it.
        quota = replace(quota, threshold=max(quota.threshold, LEAST_THRESHOLD) * (cost / polls) ** 2)
    return quota


def polls_to_plan(calls_per_second: float, ids_per_call: int, new_jobs: float) -> float:
    """The polls a second that are left for jobs seen before, when so many new ones come in a second."""
    budget = calls_per_second * ids_per_call
    return max(budget - new_jobs, budget * LEAST_FOR_POLLS)


def next_poll(now: Micros, earliest_deadline: Micros, seconds: float) -> Micros:
    """When a job that is still open is asked again: after the gap, or for a last look before a deadline.

    `earliest_deadline` is that of the watches that wait for it. Never sooner than two seconds from
    now.
    """
    regular = now + round(seconds * US_PER_SECOND)
    last_poll = earliest_deadline - LAST_POLL_BEFORE
    return max(min(regular, last_poll) if last_poll > now else regular, now + CLOSEST_POLLS)


def upstream_backoff(failure_streak: int, rng: float) -> Micros:
    """How long the fleet holds back its calls after failures in a row: 1 s doubling to 60 s, jittered."""
    doubling = 1 << min(failure_streak - 1, 6)
    return round(min(doubling, 60) * (0.5 + rng) * US_PER_SECOND)
