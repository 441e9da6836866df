"""When a job is asked about again: each poll is spent where it finds most, and exactly the budget is spent.

A job that ends during a gap g between two polls is noticed g/2 late on average. Polled with gap g(t) at age
t, a job with survival S and hazard h costs ∫ S/g polls and is noticed ∫ S·h·g/2 late; of all ways to spend the
same polls the one with the least delay has g²·h the same everywhere, for all jobs and ages (Lagrange; Keller,
"Optimum checking schedules", Management Science 21, 1974). With the chance to end within the gap for h·g:

    gap × chance that it ends within the gap = gain        one constant for all the jobs that share a budget

A smaller gain means shorter gaps and more polls. It is set by feed-forward: from a sample of the open jobs it
is known how many polls a second each gain will cost, so the gain that costs what there is can be computed
rather than steered to. Seconds throughout, but for the times of `next_poll` and `upstream_backoff`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from relay.core.durations import Curve, learn
from relay.core.records import SECOND, Micros

CLOSEST_POLLS = 2 * SECOND  # no job is asked about more often (upstream.md, section 5)
LAST_LOOK = 3 * SECOND  # before a watch's deadline its job is asked once more
CLOSEST = CLOSEST_POLLS / SECOND
CAP = 1.35  # of the even gap: bounds the worst delays, and costs the mean some hundredths at most
FILL = 1.03  # of the budget is planned for: what is due a moment too early waits, an idle call is lost
PRIOR = learn([])


@dataclass(frozen=True, slots=True)
class Look:
    """An open job as the plan sees it: its owner, its type, and its age when it was last asked about."""

    owner: str
    type: str
    age: float


@dataclass(frozen=True, slots=True)
class Share:
    """What a subscriber's jobs are polled by: the gain of a poll, and the longest gap."""

    gain: float
    longest: float


PLENTY = Share(gain=0.0, longest=CLOSEST)  # everything can be polled as often as is allowed


@dataclass(frozen=True, slots=True)
class Plan:
    """The policy until the next refresh: shares by owner, curves by type. Who is not in it has plenty."""

    shares: Mapping[str, Share] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def gap(self, owner: str, job_type: str, age: float) -> float:
        """Seconds until a job that is open at this age is asked about again."""
        share = self.shares.get(owner, PLENTY)
        return gap(self.curves.get(job_type, PRIOR), share, age)


def gap(curve: Curve, share: Share, age: float) -> float:
    """The gap after a poll at this age: as long as the gain asks for, within the two bounds."""
    if share.longest <= CLOSEST:
        return CLOSEST
    return max(curve.gap_worth(age, share.gain, share.longest), CLOSEST)


def make_plan(
    open_jobs: Mapping[str, int], looks: Sequence[Look], curves: Mapping[str, Curve], polls: float
) -> Plan:
    """Divide `polls` a second among the owners of open jobs, and set each one's gain so that it is used.

    `open_jobs` counts by owner, `looks` is a sample of them. Owners who need less than their share, at the
    closest polls allowed, are left out of the plan: they have plenty.
    """
    demands = {owner: count / CLOSEST for owner, count in open_jobs.items()}
    level = fair_level(list(demands.values()), polls * FILL)
    sampled = {owner: list(group) for owner, group in groupby(sorted(looks, key=_OWNER), key=_OWNER)}
    shares = {
        owner: _share(open_jobs[owner], sampled.get(owner, []), curves, level)
        for owner, demand in demands.items()
        if demand > level
    }
    return Plan(shares, curves)


_OWNER = attrgetter("owner")


def fair_level(demands: Sequence[float], total: float) -> float:
    """The max-min fair share: who asks for no more than this gets it all, the others get this each."""
    left = total
    for position, demand in enumerate(ordered := sorted(demands)):
        level = left / (len(ordered) - position)
        if demand > level:
            return level
        left -= demand
    return float("inf")


def _share(count: int, looks: Sequence[Look], curves: Mapping[str, Curve], polls: float) -> Share:
    """The share of an owner whose `count` jobs are to cost `polls` a second; `looks` stand for all of them."""
    longest = max(CAP * count / polls, CLOSEST)
    drawn = [(curves.get(look.type, PRIOR), look.age) for look in looks]
    low, high = 0.0, longest
    for _ in range(20):  # bisection: the cost falls as the gain rises
        gain = (low + high) / 2 if low else high / 16
        share = Share(gain, longest)
        cost = sum(1 / gap(curve, share, age) for curve, age in drawn)
        if cost * count > polls * len(drawn):
            low = gain
        else:
            high = gain
        if high < low * 1.01:
            break
    return Share(high, longest)


def next_poll(now: Micros, earliest_deadline: Micros, seconds: float) -> Micros:
    """When a job that is still open is asked again: after the gap, or for a last look before a deadline.

    `earliest_deadline` is that of the watches that wait for it. Never sooner than two seconds from now.
    """
    regular = now + round(seconds * SECOND)
    last_look = earliest_deadline - LAST_LOOK
    return max(min(regular, last_look) if last_look > now else regular, now + CLOSEST_POLLS)


def upstream_backoff(failure_streak: int, dice: float) -> Micros:
    """How long the fleet holds back its calls after failures in a row: 1 s doubling to 60 s, jittered."""
    doubling = 1 << min(failure_streak - 1, 6)
    return round(min(doubling, 60) * (0.5 + dice) * SECOND)
