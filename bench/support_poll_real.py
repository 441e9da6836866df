"""The real poller against the sandbox over HTTP, and the simulation of the very same jobs."""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import select

from bench.support_machine import CHECKOUT, cpu_seconds, wait_until
from bench.support_poll import MIXES, Job, Simulation, fresh_jobs
from relay.common.time import US_PER_SECOND
from relay.db.engine import Store
from relay.db.tables import Job as JobRow
from tests.support.database import fresh_database
from tests.support.flow import World
from tests.support.processes import Relay, free_port

RATE, IN_FLIGHT = 10, 1_000
MIX = MIXES["two types"]  # the only ones that the sandbox knows
PAUSE = 0.1  # seconds between two lots of new jobs
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Run:
    """A run between its warm-up and its end: delays in seconds, calls, and the poller's load."""

    delays: list[float]
    calls_per_second: float
    ids_per_call: float
    core: float = 0.0


def simulated(seed: int, warm_up: float, end: float) -> Run:
    """The run as the simulation sees it."""
    jobs = list(fresh_jobs(MIX, IN_FLIGHT, end, random.Random(seed)))
    simulation = Simulation(iter(jobs), RATE, random.Random(seed))
    simulation.run(warm_up)
    calls, ids = simulation.calls, simulation.ids
    simulation.run(end)
    delays = [job.delay for job in simulation.finished if warm_up <= job.found <= end]
    calls, ids = simulation.calls - calls, simulation.ids - ids
    return Run(delays, calls / (end - warm_up), ids / max(calls, 1))


def real(kind: str, seed: int, warm_up: float, end: float) -> Run:
    """The run as it is, on a database of this kind."""
    jobs = list(fresh_jobs(MIX, IN_FLIGHT, end, random.Random(seed)))
    with (
        tempfile.TemporaryDirectory() as name,
        sandbox() as url,
        fresh_database(kind, Path(name)) as database,
    ):
        relay = Relay(database, url, Path(name), {"RELAY_UPSTREAM_RATE": str(RATE)})
        store = Store(database)
        drive = Drive(World(store), url, jobs)
        relay.start("poller")
        try:
            began = time.monotonic()
            drive.until(began, warm_up)
            before = _load(url, relay.running["poller"].pid)
            drive.until(began, end)
            after = _load(url, relay.running["poller"].pid)
        finally:
            relay.stop()
        delays = drive.delays(warm_up, end)
        store.close()
    calls, ids, core = (later - earlier for later, earlier in zip(after, before, strict=True))
    return Run(delays, calls / (end - warm_up), ids / calls, core / (end - warm_up))


@contextmanager
def sandbox() -> Iterator[str]:
    """A local ListAIJob in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "relay", "sandbox", "--port", str(port)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), 20, "the sandbox answers")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/sandbox/calls", timeout=5).ok
    except requests.ConnectionError:
        return False


def _load(url: str, pid: int) -> tuple[float, float, float]:
    counts = requests.get(f"{url}/sandbox/calls", timeout=30).json()
    return counts["calls"], counts["ids"], cpu_seconds([pid])


class Drive:
    """Makes the jobs in the sandbox when their time comes, and watches them."""

    def __init__(self, world: World, url: str, jobs: Sequence[Job]) -> None:
        self._world = world
        self._url = url
        self._jobs = jobs
        self._made = 0
        self._ends: dict[str, float] = {}
        self._began = 0.0

    def until(self, began: float, end: float) -> None:
        """Make and watch what comes until `end` seconds after `began` (monotonic)."""
        self._began = began + time.time() - time.monotonic()
        while (elapsed := time.monotonic() - began) < end:
            ready = [
                job for job in self._jobs[self._made : self._made + AT_ONCE] if job.registered <= elapsed
            ]
            if ready:
                self._make(ready)
            else:
                time.sleep(PAUSE)

    def _make(self, ready: Sequence[Job]) -> None:
        names = [f"job-{self._made + number}" for number in range(len(ready))]
        orders = [
            {"job_id": name, "type": job.kind, "outcome": "success", "seconds": job.duration}
            for name, job in zip(names, ready, strict=True)
        ]
        requests.post(f"{self._url}/sandbox/jobs", json={"jobs": orders}, timeout=30).raise_for_status()
        now = time.time()
        self._ends |= {name: now + job.duration for name, job in zip(names, ready, strict=True)}
        self._world.now = round(now * US_PER_SECOND)
        self._world.register(*(self._world.request(name) for name in names))
        self._made += len(ready)

    def delays(self, start: float, end: float) -> list[float]:
        """How late the ends were noticed that were noticed in this span."""
        query = select(JobRow.job_id, JobRow.finished_at).where(JobRow.finished_at.is_not(None))
        found = self._world.store.read(lambda tx: tx.execute(query).all())
        times = {row.job_id: row.finished_at / US_PER_SECOND for row in found}
        return [
            max(noticed - self._ends[name], 0.0)
            for name, noticed in times.items()
            if start <= noticed - self._began <= end
        ]
