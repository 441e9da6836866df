"""One run of healthy endpoints beside failing ones: load, name server, times of arrival."""

import itertools
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import support_database as database
from bench.support_dispatcher import Dispatchers
from bench.support_machine import percentile
from bench.support_names import Names
from bench.support_receiver import Receiver, host
from bench.support_world import World, now, release
from relay.common.time import US_PER_SECOND, Micros

HEALTHY = 20
PER_TICK = 10
TICK = 50_000  # microseconds: 10 each 50 ms are 200 a second
WARM_UP = 3.0  # seconds of load before the trouble begins
GRACE = 5.0  # seconds after the load for what is still under way; later counts as not arrived
HOSTS = 1100
DOMAIN = "bench.test"


@dataclass(frozen=True, slots=True)
class Trouble:
    """The failing endpoints: how many, how much is queued for each, and how they fail.

    `warmed_up`: they answered until now, so that all their slots are theirs; else they are new.
    """

    endpoints: int = 0
    queued: int = 0
    unresolvable: bool = False
    warmed_up: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The healthy endpoints' webhooks: how many were due, and how late they arrived, in ms.

    `enqueued_late` is the p99 of how late this benchmark itself was to enqueue them: part of their
    lateness, but nothing that a dispatcher could change, so a run in which it is large says little.
    """

    due: int
    latencies: list[float]
    enqueued_late: float

    @property
    def arrived(self) -> float:
        """The share that arrived in time to be counted."""
        return len(self.latencies) / self.due

    def late(self, share: float) -> float:
        """A percentile of the lateness, in which what never came is later than everything."""
        missing = [float("inf")] * (self.due - len(self.latencies))
        return percentile(self.latencies + missing, share)


def run(kind: str, trouble: Trouble, seconds: float) -> Outcome:
    """Load the healthy for so many seconds of trouble, with one dispatcher."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        receiver = stack.enter_context(Receiver(hosts=HOSTS, record=True))
        names = stack.enter_context(_names(trouble))
        url = stack.enter_context(database.migrated(kind, folder))
        world = World(url)
        stack.callback(world.close)
        healthy = world.add_endpoints(
            [f"http://good-{number}.{DOMAIN}:{receiver.port}/0/e{number}" for number in range(HEALTHY)],
            warmed_up=True,
        )
        if trouble.endpoints:
            ailing = world.add_endpoints(_urls(trouble, receiver), warmed_up=trouble.warmed_up)
            world.fill(ailing, trouble.endpoints * trouble.queued)
        world.analyse()
        settings = {"RELAY_DNS_SERVERS": names.address}
        stack.enter_context(Dispatchers(url, folder, settings=settings, end_by=signal.SIGKILL))
        due, behind = _load(world, healthy, seconds)
        time.sleep(GRACE)
        arrivals = receiver.report()["arrivals"]
    return Outcome(len(due), _latencies(due, arrivals), percentile(behind, 0.99))


def _names(trouble: Trouble) -> Names:
    script: dict[str, Sequence[str] | None] = {
        f"good-{number}.{DOMAIN}": [host(number)] for number in range(HEALTHY)
    }
    script |= {f"lost-{number}.{DOMAIN}": None for number in range(trouble.endpoints)}
    return Names(script)


def _urls(trouble: Trouble, receiver: Receiver) -> list[str]:
    if trouble.unresolvable:
        return [f"http://lost-{number}.{DOMAIN}:{receiver.port}/" for number in range(trouble.endpoints)]
    return [receiver.url(HEALTHY + number, "never") for number in range(trouble.endpoints)]


def _load(world: World, healthy: Sequence[str], seconds: float) -> tuple[dict[str, Micros], list[float]]:
    """Enqueue at a steady rate; returns id → due time of those in the trouble, and each delay (ms).

    Each is due when the plan says so, also where this loop is late: nobody's delay may hide
    another's. One transaction enqueues everything that became due meanwhile, so that a late load
    catches up.
    """
    due: dict[str, Micros] = {}
    behind: list[float] = []
    owners = itertools.cycle(healthy)
    tick = now()
    trouble_at = tick + round(WARM_UP * US_PER_SECOND)
    end = trouble_at + round(seconds * US_PER_SECOND)
    while tick < end:
        time.sleep(max(tick - now(), 0) / 1e6)
        if tick >= trouble_at and not behind:
            release(world.store)
        ticks = range(tick, max(min(now(), end), tick + 1), TICK)
        plan = [(next(owners), at) for at in ticks for _ in range(PER_TICK)]
        made = world.enqueue([owner for owner, _ in plan], tick)
        if tick >= trouble_at:
            due |= {one: at for one, (_, at) in zip(made, plan, strict=True)}
            behind += [(now() - at) / 1000 for _, at in plan]
        tick = ticks[-1] + TICK
    return due, behind


def _latencies(due: dict[str, Micros], arrivals: Sequence[tuple[str, Micros]]) -> list[float]:
    first: dict[str, Micros] = {}
    for delivery_id, at in arrivals:
        first.setdefault(delivery_id, at)
    return [(first[one] - at) / 1000 for one, at in due.items() if one in first]
