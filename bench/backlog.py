"""What a claim costs while another endpoint is blocked, with a backlog of up to a million rows.

Twenty healthy endpoints are claimed from and recorded, a hundred deliveries at a time, beside one
endpoint whose circuit is open. The same is measured before and after its backlog is there, on every
database that TEST_DATABASE_URLS names, and SQLite.
"""

import argparse
import secrets
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, text, update

from bench.support_machine import median, say, table
from relay.common.time import US_PER_SECOND
from relay.db.dialects import driver_url
from relay.db.engine import Store
from relay.db.tables import Endpoint
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from tests.support.database import KINDS, fresh_database
from tests.support.flow import World

BLOCKED = "https://blocked.example/hook"
CAPACITY = ClaimCapacity(slots=100, cold_slots=50, payload_bytes=1 << 27, scan_factor=2.0)
NUMBERS = {
    "sqlite": (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
    ),
    "postgresql": "(SELECT generate_series(1, {count}) AS n)",
    "mysql": "(SELECT seq AS n FROM seq_1_to_{count})",
}
IDS = {
    "sqlite": "'msg_' || printf('%032x', n)",
    "postgresql": "'msg_' || lpad(to_hex(n), 32, '0')",
    "mysql": "concat('msg_', lpad(lower(hex(n)), 32, '0'))",
}


def main() -> None:
    """Measure every database and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    rows = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder, fresh_database(kind, Path(folder)) as url:
            rows.append([kind, *measure(kind, url, arguments.rows, arguments.rounds)])
    headings = ["database", "ratio", "ms without a backlog", f"ms beside {arguments.rows:,} rows"]
    print(table(headings, rows))


def measure(kind: str, url: str, count: int, rounds: int) -> tuple[str, str, str]:
    """The ratio of a pass beside the backlog to one without, and both in milliseconds."""
    store = Store(url)
    world = World(store, now=time.time_ns() // 1000)
    world.enqueue(1, BLOCKED)
    store.write(
        lambda tx: tx.execute(
            update(Endpoint)
            .where(Endpoint.url == BLOCKED)
            .values(failure_streak=20, failing_since=world.now, opened_at=world.now)
            .values(open_until=world.now + 3600 * US_PER_SECOND, ready_at=world.now + 3600 * US_PER_SECOND)
        )
    )
    before = a_pass(world, rounds)
    grow(kind, url, count)
    after = a_pass(world, rounds)
    store.close()
    return f"{after / before:.2f}", f"{before * 1000:.1f}", f"{after * 1000:.1f}"


def a_pass(world: World, rounds: int) -> float:
    """The median seconds to claim and record a hundred healthy deliveries."""
    hooks = [f"https://e{number}.example/{secrets.token_hex(4)}" for number in range(20)]
    for hook in hooks:
        world.enqueue(5 * rounds, hook)
        world.set_endpoint(hook, warmed_up=1, concurrency_limit=5, max_in_flight=5)
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        taken = world.claim(CAPACITY).taken
        world.record(taken)
        spent.append(time.perf_counter() - started)
        assert len(taken) == 100
        world.later(0.01)
    return median(spent)


def grow(kind: str, url: str, count: int) -> None:
    """Copy the blocked endpoint's one delivery so many times, inside the database."""
    engine = create_engine(driver_url(url))
    with engine.begin() as connection:
        names = list(connection.execute(text("SELECT * FROM deliveries LIMIT 1")).keys())
        others = [name for name in names if name != "id"]
        chosen = ", ".join(f"d.{name}" for name in others)
        numbers = NUMBERS[kind].format(count=count)
        started = time.perf_counter()
        connection.execute(
            text(
                f"INSERT INTO deliveries (id, {', '.join(others)}) SELECT {IDS[kind]}, {chosen}"
                f" FROM deliveries d CROSS JOIN {numbers} AS numbers"
                " WHERE d.endpoint_id = (SELECT id FROM endpoints WHERE url = :url)"
            ),
            {"url": BLOCKED},
        )
        say(f"{kind}: {count:,} rows in {time.perf_counter() - started:.0f} s")
    engine.dispose()


if __name__ == "__main__":
    main()
