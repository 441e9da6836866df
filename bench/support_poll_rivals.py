"""What the poll policy is compared with: polling at a fixed interval, and the optimum in theory.

Both ask each job once when it is registered, as the relay does: its type is not known before, and
it may have ended long ago. Both have more than a real poller: calls at any moment, and answers that
take no time; the optimum also knows every type and its distribution.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from bench.support_poll import Job, Kind, mean_duration
from relay.polling.rules.poll_policy import CLOSEST

EXACT_UP_TO = 12  # polls of a job: with more of them the continuous solution is as good, and much faster
PARTS = 20  # of the even interval, for the exact solution
LONGEST = 90  # such parts
TAIL = 3.5  # standard deviations beyond which nothing is left to save


def even_polling(jobs: Sequence[Job], running_time: float, polls_per_job: float) -> tuple[float, list[float]]:
    """The fixed interval that costs as many polls a job, and each job's delay by it.

    `running_time` is the mean time a job runs after its registration. A job costs the first poll,
    one for each interval it runs, and half of one more: n = 1 + time / interval + 1/2.
    """
    interval = max(running_time / max(polls_per_job - 1.5, 0.01), CLOSEST)
    left = [job.ended - job.registered for job in jobs]
    return interval, [max(math.ceil(time / interval), 0) * interval - max(time, 0.0) for time in left]


def optimal_delay(mix: Sequence[Kind], polls_per_job: float) -> float:
    """The least mean delay that so many polls a job can give."""
    polls = polls_per_job - 1
    if polls_per_job > EXACT_UP_TO:
        tables = [_table(kind) for kind in mix]
        return _bisect(lambda price: _continuous(tables, price), polls)
    width = mean_duration(mix) / max(polls - 0.5, 0.5) / PARTS
    return _bisect(lambda price: _exact(mix, width, price), polls)


def _bisect(cost: Callable[[float], tuple[float, float]], polls: float) -> float:
    """The delay at the price at which so many polls are bought; `cost` gives delay and polls."""
    low, high = 1e-6, 1e6
    delay = math.nan
    for _ in range(26):
        price = math.sqrt(low * high)
        delay, bought = cost(price)
        low, high = (price, high) if bought > polls else (low, price)
    return delay


def _survival(kind: Kind, age: float) -> float:
    if age <= 0:
        return 1.0
    return NormalDist().cdf((math.log(kind.median) - math.log(age)) / kind.sigma)


def _table(kind: Kind) -> list[tuple[float, float, float]]:
    """Of small spans of age: survival, density and width."""
    end, count = kind.median * math.exp(TAIL * kind.sigma), 3000
    edges = [end * (index / count) ** 2 for index in range(count + 1)]
    alive = [_survival(kind, edge) for edge in edges]
    return [
        (
            (alive[i] + alive[i + 1]) / 2,
            (alive[i] - alive[i + 1]) / (edges[i + 1] - edges[i]),
            edges[i + 1] - edges[i],
        )
        for i in range(count)
    ]


def _continuous(tables: Sequence[list[tuple[float, float, float]]], price: float) -> tuple[float, float]:
    """Keller's solution, h·g² = 2·price at every age, with intervals as long as they must be."""
    delay = polls = 0.0
    for table in tables:
        for alive, density, width in table:
            interval = max(math.sqrt(2 * price * alive / density), CLOSEST) if density > 0 else math.inf
            if math.isfinite(interval):
                delay += density * interval / 2 * width
                polls += alive / interval * width
    return delay / len(tables), polls / len(tables)


def _exact(mix: Sequence[Kind], width: float, price: float) -> tuple[float, float]:
    parts = [_best_schedule(kind, width, price) for kind in mix]
    return sum(delay for delay, _ in parts) / len(mix), sum(polls for _, polls in parts) / len(mix)


def _best_schedule(kind: Kind, width: float, price: float) -> tuple[float, float]:
    """Delay and polls of the best schedule on a grid of ages, from the last back."""
    count = int(kind.median * math.exp(TAIL * kind.sigma) / width) + 1
    alive = [_survival(kind, index * width) for index in range(count + LONGEST + 1)]
    area = [0.0]
    for index in range(count + LONGEST):
        area.append(area[-1] + (alive[index] + alive[index + 1]) / 2 * width)
    delay, polls = [0.0] * len(alive), [0.0] * len(alive)
    shortest = max(math.ceil(CLOSEST / width), 1)
    for index in range(count - 1, -1, -1):
        ways = range(index + shortest, index + LONGEST)
        waits = [
            alive[index] * (way - index) * width - (area[way] - area[index]) + delay[way] for way in ways
        ]
        best = min(range(len(ways)), key=lambda way: waits[way] + price * polls[ways[way]])
        delay[index] = waits[best]
        polls[index] = alive[index] + polls[ways[best]]
    return delay[0], polls[0]
