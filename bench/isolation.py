"""What trouble at some endpoints does to the others, and what a dispatcher costs that waits.

./dev bench isolation [--rounds N] [--quick] [--only WORD …] [--database KIND]

20 healthy endpoints at a steady 200 deliveries a second, alone and beside trouble; 2,000 receivers
that take a second each; and a dispatcher with nothing to do.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import support_database as database
from bench.support_database import POSTGRESQL
from bench.support_dispatcher import Dispatchers
from bench.support_machine import CHECKOUT, facts, median, memory_mib, table, wait_until
from bench.support_ratios import Figures, interleave
from bench.support_receiver import Receiver
from bench.support_trouble import Trouble, run
from bench.support_world import World, all_done, now, release, span

ALONE = "alone"
TROUBLES = {
    ALONE: Trouble(),
    "hang-one: one hangs, 10,000 queued": Trouble(endpoints=1, queued=10_000, warmed_up=True),
    "hang-many: 1,000 hang": Trouble(endpoints=1000, queued=10),
    "names: 1,000 never resolve": Trouble(endpoints=1000, queued=10, unresolvable=True),
    "hang-warm: 1,000 hang that were well until now": Trouble(endpoints=1000, queued=10, warmed_up=True),
}
FACTOR, ADDED = 2.0, 100.0  # the bar: p99 below FACTOR times its value alone plus ADDED milliseconds

SLOW = 2000  # receivers that take a second each, and transfers at once
IDEAL_SHARE, MOST_MIB = 0.8, 60.0
IDLE_CPU, PICKUP = 0.01, 250.0  # of a core; milliseconds


def isolation(kind: str, wanted: list[str], rounds: int, seconds: float) -> str:
    """The table of the healthy endpoints' lateness beside each trouble."""
    cells = {name: partial(_isolated, kind, trouble, seconds) for name, trouble in _chosen(wanted).items()}
    found = interleave(cells, rounds)
    alone = median(figures["p99"] for figures in found[ALONE])
    rows = [
        [
            name,
            *(
                f"{median(one[key] for one in figures):.1f}"
                for key in ("p50", "p99", "worst", "enqueued late")
            ),
            " ".join(f"{one['p99']:.0f}" for one in figures),
            f"{median(one['arrived'] for one in figures):.2f} %",
            _outcome(name, figures, alone),
        ]
        for name, figures in found.items()
    ]
    return table(
        [
            "beside",
            "p50 ms",
            "p99 ms",
            "worst ms",
            "load's own p99 ms",
            "p99 of each run",
            "arrived",
            f"< {_bar(alone):.0f} ms",
        ],
        rows,
    )


def _chosen(wanted: list[str]) -> dict[str, Trouble]:
    return {
        name: trouble
        for name, trouble in TROUBLES.items()
        if name == ALONE or not wanted or any(word in name for word in wanted)
    }


def _isolated(kind: str, trouble: Trouble, seconds: float) -> Figures:
    outcome = run(kind, trouble, seconds)
    return {
        "p50": outcome.late(0.5),
        "p99": outcome.late(0.99),
        "worst": outcome.late(1.0),
        "enqueued late": outcome.enqueued_late,
        "arrived": outcome.arrived * 100,
    }


def _bar(alone: float) -> float:
    return FACTOR * alone + ADDED


def _outcome(name: str, figures: list[Figures], alone: float) -> str:
    if name == ALONE:
        return ""
    all_came = median(one["arrived"] for one in figures) == 100
    return "met" if median(one["p99"] for one in figures) < _bar(alone) and all_came else "**missed**"


def slow(kind: str, count: int) -> str:
    """2,000 receivers of one second, by a dispatcher and by bare libcurl."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        receiver = stack.enter_context(Receiver(hosts=SLOW))
        urls = [receiver.url(number, "1000") for number in range(SLOW)]
        bare = _libcurl(urls, count)
        url = stack.enter_context(database.migrated(kind, folder))
        world = World(url)
        stack.callback(world.close)
        world.fill(world.add_endpoints(urls, warmed_up=True), count)
        world.analyse()
        settings = {"RELAY_MAX_IN_FLIGHT": str(SLOW)}
        with Dispatchers(url, folder, settings=settings) as dispatcher:
            release(world.store)
            wait_until(lambda: all_done(world.store), 300, "everything is delivered", every=0.1)
            mib = sum(memory_mib(pid, "VmHWM") for pid in dispatcher.pids)
        rate = count / span(world.store)[1]
    rows = [
        ["dispatcher", f"{rate:,.0f}", f"{rate / SLOW:.2f}", f"{mib:.0f}"],
        ["bare libcurl", f"{bare['rate']:,.0f}", f"{bare['rate'] / SLOW:.2f}", f"{bare['mib']:.0f}"],
        ["bar", "", f"≥ {IDEAL_SHARE}", f"≤ {bare['mib'] + MOST_MIB:.0f}"],
        ["", "", _word(rate / SLOW >= IDEAL_SHARE), _word(mib <= bare["mib"] + MOST_MIB)],
    ]
    return table(["", "deliveries/s", f"of the ideal {SLOW:,}/s", "most memory, MiB"], rows)


def _libcurl(urls: list[str], count: int) -> Figures:
    output = subprocess.run(
        [sys.executable, "-m", "bench.support_libcurl", str(count), str(SLOW)],
        cwd=CHECKOUT,
        input="\n".join(urls),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(output.stdout)
    return {"rate": count / found["seconds"], "mib": found["mib"]}


def idle(kind: str, seconds: float, pickups: int) -> str:
    """A dispatcher with nothing due: its processor time, and how soon it sends what becomes due."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        receiver = stack.enter_context(Receiver(record=True))
        url = stack.enter_context(database.migrated(kind, folder))
        world = World(url)
        stack.callback(world.close)
        endpoints = world.add_endpoints([receiver.url(number, "0") for number in range(200)], warmed_up=True)
        dispatcher = stack.enter_context(Dispatchers(url, folder))
        cpu = dispatcher.cpu()
        time.sleep(seconds)
        share = (dispatcher.cpu() - cpu) / seconds
        waits = [_pickup(world, receiver, endpoints) for _ in range(pickups)]
    rows = [
        [f"{share:.2%}", f"{median(waits):.0f}", f"{max(waits):.0f}"],
        [f"< {IDLE_CPU:.0%}", "", f"≤ {PICKUP:.0f}"],
        [_word(share < IDLE_CPU), "", _word(max(waits) <= PICKUP)],
    ]
    return table([f"of a core, {kind}", "a new delivery leaves after, ms", "worst"], rows)


def _pickup(world: World, receiver: Receiver, endpoints: list[str]) -> float:
    """Milliseconds from the moment a delivery became due to its arrival."""
    time.sleep(random.uniform(0.3, 0.7))
    receiver.reset()
    due_at = now()
    world.enqueue([random.choice(endpoints)], due_at)
    arrivals = wait_until(lambda: receiver.report()["arrivals"], 10, "the delivery has come")
    return float(arrivals[0][1] - due_at) / 1000


def _word(is_met: bool) -> str:  # noqa: FBT001 - its only meaning
    return "met" if is_met else "**missed**"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The switches."""
    parser = argparse.ArgumentParser(prog="./dev bench isolation", description=__doc__)
    parser.add_argument("--rounds", type=int, help="interleaved runs of each trouble (3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--database", choices=database.available(), help="the first of these that is there")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="hang-one, hang-many, names, hang-warm, slow, idle",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    wanted = parse(arguments)
    kind = wanted.database or database.available()[0]
    rounds = wanted.rounds or (1 if wanted.quick else 3)
    about = facts(database.POSTGRESQL_URL if POSTGRESQL in database.available() else None, "isolation")
    print(f"## Isolation, {kind}, {rounds} rounds\n\n{about}\n", flush=True)
    if not wanted.only or len(_chosen(wanted.only)) > 1:
        print(f"{isolation(kind, wanted.only, rounds, 6 if wanted.quick else 20)}\n", flush=True)
    if not wanted.only or "slow" in wanted.only:
        count = SLOW * (5 if wanted.quick else 20)
        print(f"### {SLOW:,} receivers of one second\n\n{slow(kind, count)}\n", flush=True)
    if not wanted.only or "idle" in wanted.only:
        for one in database.available():
            print(f"### Idle\n\n{idle(one, *((5, 8) if wanted.quick else (30, 30)))}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
