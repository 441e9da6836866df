"""How fast a dispatcher delivers, as ratios against its limits and a rival in the same run.

./dev bench deliver [--rounds N] [--quick] [--only WORD …]

Each delivery is 2 KB, signed, recorded by an attempt row that keeps the answer; 200 endpoints,
receivers that answer at once and ones that take 50 ms. Beside the relay, in the same rounds: (a)
claim and record alone, (b) libcurl alone, (c) Celery. Then a profile of where a dispatcher's time
goes.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import support_database as database
from bench.support_celery import CeleryRival
from bench.support_database import POSTGRESQL, SQLITE
from bench.support_dispatcher import Dispatchers
from bench.support_machine import CHECKOUT, cpu_seconds, facts, say, table, wait_until
from bench.support_ratios import Bar, Figures, bars_met, interleave, medians
from bench.support_receiver import Receiver
from bench.support_world import World, all_done, recorded, release, span
from relay.db.engine import Store

ENDPOINTS = 200
RECEIVERS = {"0": "at once", "50": "50 ms"}
RUN_TIMEOUT = 180.0  # seconds for one run
LIBCURL_AT_ONCE = 1000  # transfers, as many as one dispatcher has by default
CELERY_PROCESSES = {"0": 4, "50": 16}  # the best of 2, 4, 8 and of 2, 16 on two cores
COLUMNS = {
    "rate": "deliveries/s",
    "cpu": "processor µs each",
    "warm": "once warm",
    "database": "database's processor µs each",
}
TWO_TO_ONE = ("PostgreSQL x2, at once", "PostgreSQL x1, at once")
BARS = (
    Bar("PostgreSQL, one process, at once, to (a)", "PostgreSQL x1, at once", "(a) PostgreSQL", least=0.5),
    Bar("PostgreSQL, one process, 50 ms, to (a)", "PostgreSQL x1, 50 ms", "(a) PostgreSQL", least=0.5),
    Bar("… at once, to (b)", "PostgreSQL x1, at once", "(b) libcurl, at once"),
    Bar("… at once, to (c)", "PostgreSQL x1, at once", "(c) Celery, at once", least=10),
    Bar("… 50 ms, to (c)", "PostgreSQL x1, 50 ms", "(c) Celery, 50 ms", least=10),
    Bar("… at once, two processes to one", *TWO_TO_ONE),
    Bar("… their processor time each, once warm", *TWO_TO_ONE, "warm", most=1.2),
    Bar("… from the start", *TWO_TO_ONE, "cpu", most=1.2),
    Bar("SQLite, one process, at once, to (b)", "SQLite x1, at once", "(b) libcurl, at once", least=0.3),
    Bar("SQLite, one process, 50 ms, to (b)", "SQLite x1, 50 ms", "(b) libcurl, 50 ms", least=0.3),
    Bar("SQLite, one process, at once, to (a)", "SQLite x1, at once", "(a) SQLite"),
    Bar("SQLite, their processor time each, once warm", "SQLite x2, at once", "SQLite x1, at once", "warm"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many of each a run delivers: some seconds' worth."""

    relay: int = 40_000
    floor: int = 40_000
    libcurl: int = 40_000
    celery: int = 2_000
    profile: int = 10_000

    @property
    def warm_up(self) -> int:
        """A quarter, after which (in a full run) every dispatcher has opened its connections."""
        return self.relay // 4


QUICK = Sizes(relay=5_000, floor=10_000, libcurl=10_000, celery=500, profile=5_000)


class Bench:
    """Shared by the cells: the receiver, a folder, and the filled databases that runs copy."""

    def __init__(self, sizes: Sizes, folder: Path, receiver: Receiver, stack: ExitStack) -> None:
        self.sizes, self.folder, self.receiver = sizes, folder, receiver
        self._stack = stack
        self._filled: dict[tuple[str, int], str] = {}

    def urls(self, behaviour: str) -> list[str]:
        """The endpoints."""
        return [self.receiver.url(number, behaviour) for number in range(ENDPOINTS)]

    def filled(self, kind: str, count: int) -> str:
        """The URL of a database in which `count` deliveries wait for their endpoints' release."""
        if (kind, count) not in self._filled:
            say(f"filling a {kind} database with {count:,} deliveries")
            url = self._stack.enter_context(database.migrated(kind, self.folder))
            world = World(url)
            world.fill(world.add_endpoints(self.urls("0"), warmed_up=True), count)
            world.analyse()
            world.close()
            self._filled[kind, count] = url
        return self._filled[kind, count]

    def relay(self, kind: str, processes: int, behaviour: str) -> Figures:
        """The dispatchers themselves."""
        with database.scratch(kind, self.folder, copy_of=self.filled(kind, self.sizes.relay)) as url:
            store = Store(url)
            with Dispatchers(url, self.folder, processes) as dispatchers:
                cpu, server = dispatchers.cpu(), cpu_seconds(database.backends(url))
                release(store, behaviour=behaviour)
                _wait_for(self.sizes.warm_up, store)
                before, warm_cpu = recorded(store), dispatchers.cpu()
                _wait_for(3 * self.sizes.warm_up, store)
                middle, warm_cpu = recorded(store) - before, dispatchers.cpu() - warm_cpu
                wait_until(lambda: all_done(store), RUN_TIMEOUT, "everything is delivered", every=0.1)
                cpu = dispatchers.cpu() - cpu
                server = cpu_seconds(database.backends(url)) - server
            count, seconds = span(store)
            store.close()
            for complaint in dispatchers.complaints():
                say(f"the dispatcher said: {complaint}")
        warm = warm_cpu / middle * 1e6
        figures = {"rate": count / seconds, "cpu": cpu / count * 1e6, "warm": warm}
        return figures | ({"database": server / count * 1e6} if kind == POSTGRESQL else {})

    def floor(self, kind: str) -> Figures:
        """Rival (a)."""
        with database.scratch(kind, self.folder) as url:
            return _program("bench.support_floor", self.sizes.floor, url, str(self.sizes.floor))

    def libcurl(self, behaviour: str) -> Figures:
        """Rival (b)."""
        count = self.sizes.libcurl
        urls = "\n".join(self.urls(behaviour))
        return _program("bench.support_libcurl", count, str(count), str(LIBCURL_AT_ONCE), stdin=urls)

    def celery(self, rival: CeleryRival, behaviour: str) -> Figures:
        """Rival (c)."""
        count, processes = self.sizes.celery, CELERY_PROCESSES[behaviour]
        with database.scratch(POSTGRESQL, self.folder) as url:
            return {"rate": count / rival.run(url, self.urls(behaviour), count, processes)}

    def profile(self, kind: str) -> dict[str, Any]:
        """One run under the profiler; see `support_profile`. `count` is how many were delivered."""
        target = self.folder / f"profile-{kind}.json"
        program = ("-m", "bench.support_profile", str(target))
        with database.scratch(kind, self.folder, copy_of=self.filled(kind, self.sizes.profile)) as url:
            store = Store(url)
            with Dispatchers(url, self.folder, program=program) as dispatchers:
                dispatchers.processes[0].send_signal(signal.SIGUSR1)
                release(store)
                wait_until(lambda: all_done(store), RUN_TIMEOUT, "everything is delivered", every=0.1)
                dispatchers.processes[0].send_signal(signal.SIGUSR2)
                wait_until(target.exists, 10, "the profile is written")
            store.close()
        found: dict[str, Any] = json.loads(target.read_text())
        return found | {"count": self.sizes.profile}


def _wait_for(count: int, store: Store) -> None:
    wait_until(lambda: recorded(store) >= count, RUN_TIMEOUT, f"{count:,} are recorded", every=0.1)


def _program(module: str, count: int, *arguments: str, stdin: str = "") -> Figures:
    """Run a rival as a process of its own, as the relay's processes are."""
    output = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=CHECKOUT,
        input=stdin,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=RUN_TIMEOUT,
    )
    found = json.loads(output.stdout)
    return {"rate": count / found["seconds"], "cpu": found["cpu"] / count * 1e6}


def cells(bench: Bench, kinds: list[str], rival: CeleryRival | None) -> dict[str, Callable[[], Figures]]:
    """Every cell by its name."""
    named = {POSTGRESQL: "PostgreSQL", SQLITE: "SQLite"}
    found: dict[str, Callable[[], Figures]] = {}
    for behaviour, words in RECEIVERS.items():
        for kind in kinds:
            for processes in (1, 2):
                run = partial(bench.relay, kind, processes, behaviour)
                found[f"{named[kind]} x{processes}, {words}"] = run
        found[f"(b) libcurl, {words}"] = partial(bench.libcurl, behaviour)
        if rival is not None and POSTGRESQL in kinds:
            found[f"(c) Celery, {words}"] = partial(bench.celery, rival, behaviour)
    return found | {f"(a) {named[kind]}": partial(bench.floor, kind) for kind in kinds}


def profile_tables(found: dict[str, Any]) -> str:
    """Where the time of both threads went, and what each statement took; µs for each delivery."""
    each = 1e6 / found["count"]
    parts = []
    for thread, seen in found["seen"].items():
        wall = found["seconds"] * each / found["looks"]
        rows = [
            [stage or "(between turns)", kind, f"{looks * wall:.0f}", f"{looks / found['looks']:.1%}"]
            for (kind, _, stage), looks in sorted(
                ((key.partition("|"), looks) for key, looks in seen.items()), key=lambda one: -one[1]
            )
            if looks / found["looks"] >= 0.01
        ]
        cpu = found["cpu"].get(thread, 0.0) * each
        head = f"The {thread} thread: {cpu:.0f} µs of processor in {found['seconds'] * each:.0f} µs"
        parts.append(f"{head}\n\n{table(['in', 'doing', 'µs each', 'share'], rows)}")
    statements = [
        [f"`{one['text']}`", f"{one['calls']}", f"{one['wall'] * each:.1f}", f"{one['cpu'] * each:.1f}"]
        for one in sorted(found["statements"], key=lambda one: -one["wall"])
        if one["wall"] * each >= 0.5
    ]
    heads = ["statement", "calls", "µs each", "of it this thread's processor"]
    return "\n\n".join([*parts, table(heads, statements)])


def parse(arguments: list[str]) -> argparse.Namespace:
    """The switches."""
    parser = argparse.ArgumentParser(prog="./dev bench deliver", description=__doc__)
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="a quarter of the deliveries")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="cells with a WORD in the name")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    wanted = parse(arguments)
    sizes = QUICK if wanted.quick else Sizes()
    rounds = wanted.rounds or (1 if wanted.quick else 5)
    kinds = database.available()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
        bench = Bench(sizes, folder, stack.enter_context(Receiver(hosts=ENDPOINTS)), stack)
        rival = CeleryRival(folder)
        chosen = {
            name: run
            for name, run in cells(bench, kinds, None if rival.missing else rival).items()
            if not wanted.only or any(word.lower() in name.lower() for word in wanted.only)
        }
        about = facts(database.POSTGRESQL_URL if POSTGRESQL in kinds else None, "deliver")
        found = interleave(chosen, rounds)
        print(f"## Deliveries, {rounds} rounds\n\n{about}\n")
        if rival.missing:
            print(f"(c) was skipped: {rival.missing}.\n")
        print(f"{medians(found, COLUMNS)}\n\n{bars_met(found, BARS)}\n")
        for kind in kinds:
            if not wanted.only or "profile" in wanted.only:
                print(f"### Profile, {kind}, one process, at once\n\n{profile_tables(bench.profile(kind))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
