"""Ten minutes of trouble: processes killed and stopped, database crashes, bad receivers.

50,000 deliveries to a hundred endpoints come in while it lasts. In the end every delivery must be
delivered, failed by its rules, or waiting where its rules say so (held at a disabled endpoint, or
behind an open circuit, for no longer than the rule allows); none lost, none stuck; and no
webhook-id may have been answered with a 2xx more often than once and once more for each attempt
that was lost with its process, or whose 2xx came after the attempt had timed out (which a busy
machine can bring about: they are counted apart). `--database` is postgresql, mysql (private
servers, which are crashed) or sqlite. Prints what happened; exit code 1 if anything is wrong.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bench.support_chaos import BEHAVIOURS, Chaos
from bench.support_machine import wait_until
from bench.support_soak_rules import ATTEMPT_SECONDS, judge
from bench.support_world import MASTER_KEY_TEXT, World, now
from relay.common.errors import StoreUnavailable
from relay.db.engine import Store
from relay.db.tables import Delivery, Endpoint
from relay.deliveries.rules.retry_policy import RetryPolicy
from tests.support.database import fresh_database
from tests.support.processes import children
from tests.support.servers import Server, private_server

ENDPOINTS = 100
WEIGHTS = {
    "ok": 60,
    "slow": 8,
    "flaky": 10,
    "late": 6,
    "reset": 6,
    "drip": 4,
    "down": 2,
    "hang": 2,
    "gone": 2,
}
SETTINGS = {
    "RELAY_ATTEMPT_TIMEOUT": f"{ATTEMPT_SECONDS:g}",
    "RELAY_LEASE_SECONDS": "17",
    "RELAY_RETRY_SCHEDULE": "1,2,3,5,8,10,10,10,10",
    "RELAY_CALLBACK_SCHEMES": "http",
    "RELAY_CALLBACK_ALLOW": "127.0.0.0/8",
    "RELAY_MASTER_KEY": MASTER_KEY_TEXT,
    "RELAY_LOG_FORMAT": "json",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "soak",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "soak",
    "RELAY_UPSTREAM_URL": "http://127.0.0.1:9",
}
POLICY = RetryPolicy(
    tuple(float(delay) for delay in SETTINGS["RELAY_RETRY_SCHEDULE"].split(",")), longest_hold=0
)
END_WITHIN = 240.0  # seconds after the last trouble in which everything that can end has ended


class Fleet:
    """Two dispatchers and a poller (for its housekeeping), as real processes."""

    def __init__(self, url: str, folder: Path) -> None:
        self._environ = {"PATH": os.environ["PATH"], "PYTHONPATH": ".", "DATABASE_URL": url, **SETTINGS}
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[str, int] = {}
        for name in ("dispatcher-1", "dispatcher-2", "poller"):
            self.start(name)

    def start(self, name: str) -> None:
        """Start a process."""
        command = [sys.executable, "-m", "relay", "poll" if name == "poller" else "deliver"]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._log_starts[name] = log.tell()
            self._running[name] = subprocess.Popen(command, env=self._environ, stdout=log, stderr=log)

    def end(self, name: str, how: signal.Signals) -> None:
        """End a process by a signal and start it again."""
        process = self._running.pop(name)
        process.send_signal(how)
        process.wait(60)
        self.start(name)

    def end_sender(self, name: str) -> None:
        """Kill what sends for a dispatcher, which then ends by itself, with 1; start it again."""
        process = self._running.pop(name)
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        code = process.wait(60)
        if code != 1:
            raise RuntimeError(f"{name} ended with {code} after its sender was killed")
        self.start(name)

    def stop(self) -> list[int]:
        """Stop all in good order; their exit codes."""
        for name in self._running:  # one that is just starting does not heed SIGTERM yet
            wait_until(partial(self._has_started, name), 30, f"{name} has started")
        for process in self._running.values():
            process.terminate()
        return [process.wait(60) for process in self._running.values()]

    def _has_started(self, name: str) -> bool:
        said = (self._folder / f"{name}.log").read_bytes()
        return b"process_started" in said[self._log_starts[name] :]


def main() -> int:
    """Run the soak and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--deliveries", type=int, default=50_000)
    parser.add_argument("--database", choices=("postgresql", "mysql", "sqlite"), default="postgresql")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    print(f"seed {arguments.seed}, {arguments.database}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="relay-soak-") as name,
        _database(arguments.database, name) as place,
    ):
        url, server = place
        return soak(url, server, arguments.minutes * 60, arguments.deliveries, rng, Path(name))


@contextlib.contextmanager
def _database(kind: str, folder: str) -> Iterator[tuple[str, Server | None]]:
    if kind == "sqlite":
        with fresh_database(kind, Path(folder)) as url:
            yield url, None
    else:
        with private_server(kind) as server:
            yield server.url, server


def soak(
    url: str, server: Server | None, seconds: float, count: int, rng: random.Random, folder: Path
) -> int:
    """Make trouble for so many seconds while deliveries come in, wait for their ends, and judge."""
    chaos = Chaos(rng.randrange(1 << 30))
    chaos.start()
    world = World(url)
    names = [*BEHAVIOURS, *rng.choices([*WEIGHTS], [*WEIGHTS.values()], k=ENDPOINTS - len(BEHAVIOURS))]
    hooks = [f"http://127.0.0.1:{chaos.port}/{name}/{number}" for number, name in enumerate(names)]
    owners = world.add_endpoints(hooks, warmed_up=False)
    fleet = Fleet(url, folder)
    troubles: Counter[str] = Counter()
    started = time.monotonic()
    pending, trouble_at = 0, started + 5
    while (passed := time.monotonic() - started) < seconds:
        wanted = min(round(count * passed / (seconds * 0.85)), count)
        if wanted > pending:
            pending += _enqueue(world, rng.choices(owners, k=min(wanted - pending, 200)))
        if time.monotonic() >= trouble_at:
            troubles[_trouble(fleet, server, rng)] += 1
            trouble_at = time.monotonic() + rng.uniform(4, 12)
        time.sleep(0.05)
    left = _wait_until_ended(world.store)
    ended_at = now()
    codes = fleet.stop()
    print(f"{pending:,} deliveries, troubles: {dict(troubles)}, exit codes {codes}, open in the end: {left}")
    wrong = judge(world.store, chaos, pending, ended_at, POLICY)
    if any(codes):
        wrong.append(f"a process did not stop cleanly: {codes}")
    world.close()
    chaos.stop()
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


def _enqueue(world: World, owners: list[str]) -> int:
    """Enqueue a delivery to each; nothing while the database is away, as callers get a 503 then."""
    try:
        return len(world.enqueue(sorted(owners), now()))
    except StoreUnavailable:
        return 0


def _trouble(fleet: Fleet, server: Server | None, rng: random.Random) -> str:
    kind = rng.choice(("kill", "kill", "sender", "stop", "poller", "crash"))
    one = rng.choice(("dispatcher-1", "dispatcher-2"))
    match kind:
        case "kill":
            fleet.end(one, signal.SIGKILL)
        case "sender":
            fleet.end_sender(one)
        case "stop":
            fleet.end(one, signal.SIGTERM)
        case "poller":
            fleet.end("poller", signal.SIGKILL)
        case "crash" if server is not None:
            server.crash()
            time.sleep(rng.uniform(0, 2))
            server.start()
        case _:
            return "none"
    return kind


def _wait_until_ended(store: Store) -> dict[str, int]:
    """Wait until nothing is open but what is held or behind an open circuit; what is open then."""
    give_up_at = time.monotonic() + END_WITHIN
    while True:
        states = store.read(_open_rows)
        if not states.get("flowing") or time.monotonic() > give_up_at:
            return states
        time.sleep(1)


def _open_rows(tx: Any) -> dict[str, int]:
    rows = tx.execute(
        select(Endpoint.status, Endpoint.opened_at.is_not(None), func.count())
        .join(Delivery, Delivery.endpoint_id == Endpoint.id)
        .where(Delivery.due_at.is_not(None))
        .group_by(Endpoint.status, Endpoint.opened_at.is_not(None))
    )
    found: Counter[str] = Counter()
    for status, is_open, count in rows:
        found["held" if status != "active" else "blocked" if is_open else "flowing"] += count
    return dict(found)


if __name__ == "__main__":
    sys.exit(main())
