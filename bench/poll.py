"""How late the relay notices that jobs have ended, for the calls it makes, and what polling costs.

    ./dev bench poll [--quick] [--only simulation|poller|passes] [--rounds N] [--seed N]

Three parts: a simulated provider with a clock of its own, against polling at a fixed interval with
the same calls and against the theoretical optimum; the real poller against the sandbox, against the
simulation of the same jobs; the cost of a poll pass to the database with 1,000 and with 100,000
waiting jobs.
"""

import argparse
import math
import random
import time
from collections.abc import Iterator

from bench import support_machine
from bench.support_machine import percentile, say, table
from bench.support_poll import MIXES, Job, Simulation, mean_duration, steady_jobs
from bench.support_poll_passes import MANY, passes
from bench.support_poll_real import IN_FLIGHT, RATE, Run, real, simulated
from bench.support_poll_rivals import even_polling, optimal_delay
from relay.provider.list_ai_job.rules.response_parser import IDS_PER_CALL
from tests.support.database import KINDS

LOADS = [(in_flight, rate) for in_flight in (1_000, 10_000) for rate in (2, 10, 30)]
LEAST_POLLS = 3  # of a job, on average: with fewer there is nothing to choose
BARS = {"four types": (0.72, 1.6, 1.25), "two types": (1.0, 1.3, math.inf)}  # mean, p99; mean of the optimum


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("simulation", "poller", "passes"))
    parser.add_argument("--quick", action="store_true", help="shorter, for a first impression")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(support_machine.facts(None, "poll"))
    parts = {"simulation": show_simulation, "poller": show_poller, "passes": show_passes}
    for name, show in parts.items():
        if arguments.only in {None, name}:
            show(arguments)


def show_simulation(arguments: argparse.Namespace) -> None:
    rows = []
    for mix in MIXES:
        for in_flight, rate in LOADS:
            if rate * IDS_PER_CALL >= LEAST_POLLS * in_flight / mean_duration(MIXES[mix]):
                say(f"{mix}, {in_flight:,} jobs, {rate} calls/s")
                rows.append(simulation_row(mix, in_flight, rate, arguments))
    print("\n## Delay in simulation, ratios to the fixed interval and to the optimum\n")
    head = ["load", "mean / fixed", "p99 / fixed", "mean / optimum", "optimum / fixed", "bars"]
    head += ["mean s", "p50 s", "p99 s", "fixed: every s", "mean s", "p99 s", "optimum s"]
    print(table([*head, "calls used", "ids a call", "polls a job", "jobs a second"], rows))
    print("\nBars (at least 3 polls a job): ", *(f"{mix}: {bars}" for mix, bars in BARS.items()))


def simulation_row(mix: str, in_flight: int, rate: int, arguments: argparse.Namespace) -> list[str]:
    """Run one load past a warm-up, and compare the jobs that ended after it."""
    kinds = MIXES[mix]
    warm_up, end = (600.0, 1_200.0) if arguments.quick else (1_500.0, 4_500.0)
    made: list[Job] = []

    def jobs() -> Iterator[Job]:
        for job in steady_jobs(kinds, in_flight, end, random.Random(arguments.seed)):
            made.append(job)
            yield job

    began = time.perf_counter()
    simulation = Simulation(jobs(), rate, random.Random(arguments.seed + 1))
    simulation.run(warm_up)
    calls, ids = simulation.calls, simulation.ids
    simulation.run(end)
    speed = len(simulation.finished) / (time.perf_counter() - began)
    calls, ids = simulation.calls - calls, simulation.ids - ids
    ended = [job for job in simulation.finished if warm_up < job.found <= end]
    polls = ids / len(ended)
    running = sum(max(min(job.ended, end) - max(job.registered, warm_up), 0.0) for job in made) / len(ended)
    interval, even = even_polling(ended, running, polls)
    best = optimal_delay(kinds, polls)
    delays = [job.delay for job in ended]
    mean, even_mean = sum(delays) / len(delays), sum(even) / len(even)
    ratios = (mean / even_mean, percentile(delays, 0.99) / percentile(even, 0.99), mean / best)
    met = all(ratio <= bar for ratio, bar in zip(ratios, BARS[mix], strict=True))
    return [
        f"{mix}, {in_flight:,} jobs, {rate} calls/s",
        *(f"{ratio:.2f}" for ratio in (*ratios, best / even_mean)),
        "met" if met else "**missed**",
        *(f"{value:.2f}" for value in (mean, percentile(delays, 0.5), percentile(delays, 0.99))),
        *(f"{value:.2f}" for value in (interval, even_mean, percentile(even, 0.99), best)),
        f"{calls / (end - warm_up) / rate:.3f}",
        f"{ids / calls:.2f}",
        f"{polls:.1f}",
        f"{speed:,.0f}",
    ]


def show_poller(arguments: argparse.Namespace) -> None:
    warm_up, end = (40.0, 100.0) if arguments.quick else (120.0, 420.0)
    say(f"the real poller: {end:g} s on each of {', '.join(KINDS)}")
    expected = simulated(arguments.seed, warm_up, end)
    runs = {kind: real(kind, arguments.seed, warm_up, end) for kind in KINDS}
    rows = [poller_row(kind, run, expected) for kind, run in [*runs.items(), ("simulation", expected)]]
    print(f"\n## The real poller, {RATE} calls/s, {IN_FLIGHT:,} jobs, two types; ratios to the simulation\n")
    head = ["database", "mean", "p50", "p99", "core used", "mean s", "p50 s", "p99 s"]
    print(table([*head, "calls/s", "ids a call", "jobs ended"], rows))
    print("\nBars: within 15 % of the simulation; under 10 % of a core.")


def poller_row(kind: str, run: Run, expected: Run) -> list[str]:
    found, simulated_figures = figures(run), figures(expected)
    return [
        kind,
        *(f"{value / other:.2f}" for value, other in zip(found, simulated_figures, strict=True)),
        f"{run.core:.1%}",
        *(f"{value:.2f}" for value in found),
        f"{run.calls_per_second:.2f}",
        f"{run.ids_per_call:.2f}",
        f"{len(run.delays):,}",
    ]


def figures(run: Run) -> tuple[float, float, float]:
    """Mean, median and 99th percentile of the delays."""
    mean = sum(run.delays) / len(run.delays)
    return mean, percentile(run.delays, 0.5), percentile(run.delays, 0.99)


def show_passes(arguments: argparse.Namespace) -> None:
    many = MANY // 10 if arguments.quick else MANY
    rows = passes(arguments.rounds, many)
    print(f"\n## A poll pass (claim and record 10 calls), {many:,} jobs waiting over 1,000\n")
    head = ["database", "ratio", "ms at 1,000", f"ms at {many:,}", "refresh ms at 1,000"]
    print(table([*head, f"refresh ms at {many:,}"], rows))
    print("\nBar: ratio ≤ 1.5. The refresh of the policy is made once in ten seconds, by one poller.")


if __name__ == "__main__":
    main()
