"""When a job is asked about again: each poll where it saves most delay, within the rate limit.

A job that ends between two polls, an interval g apart, is noticed g/2 late on average. Polled with
interval g(t) at age t, a job with survival S and hazard h costs ∫ S/g polls and is noticed
∫ S·h·g/2 late. For a given number of polls the least delay has h·g² equal for all jobs and ages
(Lagrange; J. B. Keller, "Optimum checking schedules for systems subject to random failure",
Management Science 21, 1974). As h·g is the chance to end:

    interval · chance that the job ends within it = the same for all polls

That holds while the chance is small. Where polls are scarcer, the exact optimum is known for jobs
without memory (h constant, H = h·g): a poll priced at `threshold` seconds of delay is due when

    utility(g) = g · (e^H - 1 - H) / H = threshold

since there the cost of a running job, v = (threshold + g - P/h) / P with P = 1 - e^-H, is least.
For a small H this is half of interval · chance. So this is the rule, with the hazard that is
gathered over the interval for H.

The threshold is computed, not steered to: a sample of open jobs gives the polls a second that each
threshold costs. Each subscriber who wants more than its max-min fair quota has a threshold of its
own; the others' jobs are polled as often as is allowed. Seconds throughout, but for the times of
`next_poll` and `upstream_backoff`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.common.time import US_PER_SECOND, Micros
from relay.polling.rules.durations import Curve, learn

CLOSEST_POLLS = 2 * US_PER_SECOND  # no job is asked about more often, not even to fill up a call
LAST_POLL_BEFORE = 3 * US_PER_SECOND  # before a watch's deadline its job is asked once more
CLOSEST = CLOSEST_POLLS / US_PER_SECOND
CAP = 1.47  # times the interval of even polling: bounds the worst delays, and costs the mean 1 to 2 %
FILL = 1.02  # of the rate is planned for: a job due too early waits a moment, a call not made is lost
LEAST_FOR_POLLS = 0.1  # of the rate, however many jobs are new and asked about for the first time
EVENLY = 1e9  # a threshold that no utility reaches: each interval is the longest
LEAST_THRESHOLD = 1e-9
SOLVED_TO, SOLVED_AFTER = 0.005, 12  # of the polls; iterations
PRIOR = learn([])


@dataclass(frozen=True, slots=True)
class Sample:
    """An open job as the plan sees it: its type, and its age when it was last asked about."""

    type: str
    age: float


@dataclass(frozen=True, slots=True)
class Quota:
    """How often an owner's jobs are polled: the least utility of a poll, the longest interval."""

    threshold: float
    longest: float


PLENTY = Quota(threshold=0.0, longest=CLOSEST)  # everything can be polled as often as is allowed


@dataclass(frozen=True, slots=True)
class Plan:
    """The policy until the next refresh: quotas by owner (others have plenty), curves by type."""

    quotas: Mapping[str, Quota] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def interval(self, owner: str, job_type: str, age: float) -> float:
        """Seconds until a job that is open at this age is asked about again."""
        quota = self.quotas.get(owner, PLENTY)
        return interval(self.curves.get(job_type, PRIOR), quota, age)


def interval(curve: Curve, quota: Quota, age: float) -> float:
    """The interval after a poll at this age: as the threshold asks for, within the two bounds."""
    if quota.longest <= CLOSEST:
        return CLOSEST
    return max(curve.interval_for(quota.threshold, age, quota.longest), CLOSEST)


def crowded(open_jobs: Mapping[str, int], polls: float) -> dict[str, float]:
    """Owner → polls a second, of the owners whose jobs can't be polled as often as is allowed.

    `open_jobs` counts by owner. An owner who needs less than an even part gets the need, and the
    others divide the remainder: max-min fair.
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
    """The quota by which `count` jobs cost `polls` a second; `samples` stand for all of them.

    Without a sample they are polled evenly. A job costs a poll per interval, whatever its age in
    it: so the interval counts that began when it was last asked about.
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
        # Between the bounds an interval grows as the root of the threshold, and the cost as 1 / it.
        quota = replace(quota, threshold=max(quota.threshold, LEAST_THRESHOLD) * (cost / polls) ** 2)
    return quota


def polls_to_plan(calls_per_second: float, ids_per_call: int, new_jobs: float) -> float:
    """The polls a second for jobs that were asked about before, beside so many new ones."""
    most = calls_per_second * ids_per_call
    return max(most - new_jobs, most * LEAST_FOR_POLLS)


def next_poll(now: Micros, earliest_deadline: Micros, seconds: float) -> Micros:
    """When a job that is still open is asked about again: after so many seconds.

    Once more before the earliest deadline of its watches; never within two seconds.
    """
    regular = now + round(seconds * US_PER_SECOND)
    last_poll = earliest_deadline - LAST_POLL_BEFORE
    return max(min(regular, last_poll) if last_poll > now else regular, now + CLOSEST_POLLS)


def upstream_backoff(failure_streak: int, jitter: float) -> Micros:
    """How long the fleet makes no calls after failures in a row: 1 s doubling to 60 s, jittered."""
    doubling = 1 << min(failure_streak - 1, 6)
    return round(min(doubling, 60) * (0.5 + jitter) * US_PER_SECOND)
