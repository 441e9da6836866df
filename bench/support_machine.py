"""The machine under a benchmark: its facts, processes' time and memory; and tables of figures."""

import os
import platform
import shlex
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pycurl

TICKS = os.sysconf("SC_CLK_TCK")
CHECKOUT = Path(__file__).resolve().parents[1]


def facts(postgresql_url: str | None, benchmark: str) -> str:
    """The lines that say where and how the figures were taken."""
    versions = [f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    if postgresql_url is not None:
        versions.append(postgresql_version(postgresql_url))
    versions.append(pycurl.version.split()[1].replace("/", " "))
    command = shlex.join(["./dev", "bench", benchmark, *sys.argv[1:]])
    cores = f"{len(os.sched_getaffinity(0))} cores ({_processor()})"
    lines = (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}",
        f"{cores}, {platform.system()} {platform.release()}, load before: {os.getloadavg()[0]:.2f}",
        ", ".join(versions),
    )
    return "\n".join(f"- {line}" for line in lines)


def postgresql_version(url: str) -> str:
    """The server's version, and whether a commit waits for the disk, which decides its cost."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'),"
            " current_setting('synchronous_commit')"
        ).fetchone()
    assert row is not None
    return f"PostgreSQL {row[0].split()[0]} (fsync {row[1]}, synchronous_commit {row[2]})"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    output = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return output.stdout.strip() or "unknown"


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that these processes have used so far; an ended process counts as nothing."""
    return sum(_ticks(Path(f"/proc/{pid}/stat")) for pid in pids) / TICKS


def thread_cpu_seconds(pid: int) -> dict[int, float]:
    """Thread id → processor time, for each thread of a process."""
    return {
        int(task.name): _ticks(task / "stat") / TICKS for task in Path(f"/proc/{pid}/task").glob("[0-9]*")
    }


def _ticks(stat: Path) -> int:
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12])  # utime and stime, proc(5)


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process in MiB; `VmHWM` is the most it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has no {field}: it has ended")


def wait_until(happened: Callable[[], Any], timeout: float, what: str, every: float = 0.05) -> Any:
    """Look again and again until something has happened; its value."""
    give_up_at = time.monotonic() + timeout
    while not (value := happened()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(every)
    return value


def median(values: Iterable[float]) -> float:
    """The median; NaN of nothing."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; NaN of nothing."""
    if not values:
        return float("nan")
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, figures to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def say(text: str) -> None:
    """Report progress on stderr: stdout holds only the report."""
    print(text, file=sys.stderr, flush=True)
