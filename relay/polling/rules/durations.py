"""How long jobs take, as learned from those that ended, and how likely a job ends soon.

For each type of job the newest durations are kept; a `Curve` is made of their quantiles. Seconds
throughout.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from relay.common.time import US_PER_SECOND, Micros

KEPT = 1_000  # durations of a type: the twentieth between two quantiles is known to a seventh
KEPT_AT_ONCE = KEPT // 10  # so that they do not all stem from the same few seconds
QUANTILES = 20  # of a curve; the first and the last hundredth stand beside them
PRIOR_MEDIAN = 120.0  # seconds; jobs commonly run from 15 s to some minutes
PRIOR_WEIGHT = 10  # what is assumed counts as much as so many durations seen
LONGEST = 30 * 86_400.0  # seconds: the longest a watch may wait; a longer duration is a broken clock
TYPE_LENGTH = 64

# Ages at which a curve is drawn besides its own quantiles: 1 s to 30 days, half as much again each
# time.
_GRID = tuple(1.5**number for number in range(37))


@dataclass(frozen=True, slots=True)
class Curve:
    """How the chance to end grows with a job's age.

    `hazard` is the cumulative hazard, -ln of the part of jobs still running, at each of `ages`;
    between two of them it grows evenly. Both start at 0 and rise.
    """

    ages: tuple[float, ...]
    hazard: tuple[float, ...]

    def interval_for(self, threshold: float, age: float, longest: float) -> float:
        """The shortest interval after this age of utility `threshold`; at most `longest`."""
        before = self.hazard_at(age)
        start, low = 0.0, 0.0
        for index in range(bisect_right(self.ages, age), len(self.ages)):
            end = self.ages[index] - age
            high = utility(end, self.hazard[index] - before)
            if high >= threshold:
                rate = (self.hazard[index] - self.hazard[index - 1]) / (end + age - self.ages[index - 1])
                gathered = max(self.hazard[index] - before - rate * (end - start), 0.0)
                return min(_meet(threshold, start, low, end, high, gathered, rate), longest)
            if end >= longest:
                return longest
            start, low = end, high
        return longest

    def hazard_at(self, age: float) -> float:
        """The cumulative hazard at this age."""
        index = bisect_right(self.ages, age)
        if index == len(self.ages):
            return self.hazard[-1]
        left, low = self.ages[index - 1], self.hazard[index - 1]
        return low + (age - left) * (self.hazard[index] - low) / (self.ages[index] - left)


def _meet(
    threshold: float, start: float, low: float, end: float, high: float, gathered: float, rate: float
) -> float:
    """The interval of utility `threshold`, between `start` of utility `low` and `end` of `high`.

    The hazard is `gathered` at `start`, and grows at `rate`. The root of the utility is nearly a
    straight line in the interval: two rounds of false position are near enough.
    """
    begin = start
    for _ in range(2):
        part = (math.sqrt(threshold) - math.sqrt(low)) / max(math.sqrt(high) - math.sqrt(low), 1e-12)
        interval = start + part * (end - start)
        found = utility(interval, gathered + rate * (interval - begin))
        if found < threshold:
            start, low = interval, found
        else:
            end, high = interval, found
    return interval


def utility(interval: float, hazard: float) -> float:
    """The seconds of delay that a poll after this interval saves, which gathers this hazard H.

    interval · (e^H - 1 - H) / H: for a small H half of interval · chance; see `poll_policy`.
    """
    if hazard < 1e-6:
        return interval * hazard / 2
    return interval * (math.expm1(min(hazard, 50.0)) / hazard - 1)


def remember(known: Sequence[float], fresh: Sequence[float]) -> list[float]:
    """The newest durations of a type: the known ones, and the fresh ones evenly thinned."""
    stride = max(len(fresh) / KEPT_AT_ONCE, 1.0)
    chosen = [round(fresh[int(stride * index)], 1) for index in range(int(len(fresh) / stride))]
    return [*known, *chosen][-KEPT:]


def learn(durations: Sequence[float]) -> Curve:
    """The curve of a type from the newest durations of jobs that ended, in any order; none is fine.

    They are mixed with a prior, S(age) = 1 / (1 + age / median), as if the prior were ten more
    durations: it decides before anything is learned, and later at ages that were never seen.
    """
    knots = _quantiles(sorted(durations))
    seen, assumed = len(durations), PRIOR_WEIGHT
    ages = sorted({0.0, *_GRID, *(age for age, _ in knots)})
    hazard = [
        -math.log((seen * _still_running(knots, age) + assumed / (1 + age / PRIOR_MEDIAN)) / (seen + assumed))
        for age in ages
    ]
    return Curve(tuple(ages), tuple(hazard))


def _quantiles(ordered: Sequence[float]) -> list[tuple[float, float]]:
    """Some (age, part of the jobs still running then), from age 0; all are distinct."""
    if not ordered:
        return []
    knots = [(0.0, 1.0)]
    for level in (0.01, *(index / QUANTILES for index in range(1, QUANTILES)), 0.99):
        age = ordered[min(int(level * len(ordered)), len(ordered) - 1)]
        knots.append((max(age, knots[-1][0] * 1.001), 1 - level))  # equal ones are drawn apart a little
    return knots


def _still_running(knots: Sequence[tuple[float, float]], age: float) -> float:
    """The part of the jobs that run longer than `age`.

    Between quantiles the hazard is even. After them it follows the power law of the last two: jobs
    that have run so long may run as long again.
    """
    if not knots:
        return 0.0
    index = bisect_left(knots, age, key=lambda knot: knot[0])
    if index == 0:
        return knots[0][1]
    if index < len(knots):
        (left, before), (right, after) = knots[index - 1], knots[index]
        return before * math.pow(after / before, (age - left) / (right - left))
    if len(knots) < 3:
        return knots[-1][1] * knots[-1][0] / age
    (left, before), (right, after) = knots[-2], knots[-1]
    return after * math.pow(right / age, math.log(before / after) / math.log(right / left))


def type_key(job_type: str | None) -> str:
    """The name under which a type is learned; types that can't be stored as names are all one."""
    name = job_type or ""
    return name if len(name) <= TYPE_LENGTH and name.isascii() and name.isprintable() else ""


def provider_time(value: str | None) -> Micros | None:
    """A time as the provider writes it, `yyyy-MM-ddTHH:mm:ssZ`; None for anything else."""
    try:
        time = datetime.fromisoformat(value or "")
    except ValueError:
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * US_PER_SECOND)


def age_of(creation_time: str | None, registered_at: Micros, now: Micros) -> float:
    """Seconds since the provider began with a job, else since it was registered."""
    began = provider_time(creation_time)
    return max(now - (registered_at if began is None else began), 0) / US_PER_SECOND


def duration_of(
    creation_time: str | None,
    complete_time: str | None,
    *,
    registered_at: Micros,
    last_open_at: Micros | None,
    now: Micros,
) -> float | None:
    """How long a job took that is seen ended at `now`: by the provider's times, or as observed.

    Observed, it began at its registration and ended halfway between the last time it was seen open
    and now. None for a job that was never seen open, and where the times make no sense.
    """
    began, ended = provider_time(creation_time), provider_time(complete_time)
    if ended is None and last_open_at is not None:
        ended = (last_open_at + now) // 2
    if ended is None or (began is None and last_open_at is None):
        return None
    duration = (ended - (registered_at if began is None else began)) / US_PER_SECOND
    return duration if 0 < duration <= LONGEST else None
