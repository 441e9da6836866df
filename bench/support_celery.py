"""Rival (c), seen from the benchmark: Celery with Redis in a virtual environment of its own.

It is made under a temporary folder from bench/requirements-celery.txt, and is gone afterwards.
Where Redis does not answer or the packages can't be had, `missing` says so and the benchmark goes
on without.
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from bench.support_machine import CHECKOUT, wait_until

REDIS = ("127.0.0.1", 6379)
BROKER_URL = "redis://127.0.0.1:6379/15"  # the last database of a default Redis, and a prefix there
REQUIREMENTS = CHECKOUT / "bench" / "requirements-celery.txt"
RUN_TIMEOUT = 120.0  # seconds for one run
TASKS = "bench.support_celery_tasks"
ATTEMPTS = """CREATE TABLE attempts (
    delivery_id varchar(40) PRIMARY KEY, started_at bigint NOT NULL, ended_at bigint NOT NULL,
    status_code integer NOT NULL, response_body text)"""


class CeleryRival:
    """The rival's environment; `missing` is why it can't run, or None."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "celery" / "bin" / "python"
        self._prefix = f"relay-bench-{os.getpid()}-{secrets.token_hex(4)}:"
        self.missing = None if _redis_answers() else f"Redis does not answer on {REDIS[0]}:{REDIS[1]}"
        if self.missing is None:
            self.missing = self._install()

    def _install(self) -> str | None:
        uv = [sys.executable, "-m", "uv"]
        made = [*uv, "venv", "--quiet", "--python", sys.executable, str(self._python.parents[1])]
        filled = [*uv, "pip", "install", "--quiet", "--python", str(self._python)]
        for command in (made, [*filled, "--require-hashes", "--requirement", str(REQUIREMENTS)]):
            output = subprocess.run(command, capture_output=True, text=True, check=False)
            if output.returncode:
                return f"its packages can't be installed: {output.stderr.strip().splitlines()[-1:]}"
        return None

    def run(self, database_url: str, urls: Sequence[str], count: int, concurrency: int) -> float:
        """Deliver `count`, queued before the worker starts; the seconds from first start to end."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(ATTEMPTS)
            environ = self._environ(database_url)
            try:
                self._program(environ, "fill", str(count), stdin="\n".join(urls))
                with (self._folder / "celery.log").open("wb") as log:
                    worker = subprocess.Popen(
                        self._worker(concurrency), env=environ, cwd=CHECKOUT, stdout=log, stderr=log
                    )
                try:
                    wait_until(
                        lambda: _count(connection) >= count, RUN_TIMEOUT, "Celery has delivered", every=0.1
                    )
                finally:
                    worker.terminate()
                    worker.wait(60)
            finally:
                self._program(environ, "clean")
            return _span(connection)

    def _worker(self, concurrency: int) -> list[str]:
        worker = [str(self._python), "-m", "celery", "--app", TASKS, "--quiet", "worker", "--pool", "prefork"]
        return [*worker, "--concurrency", str(concurrency), "--without-gossip", "--without-mingle"]

    def _program(self, environ: dict[str, str], *arguments: str, stdin: str = "") -> None:
        subprocess.run(
            [str(self._python), "-m", TASKS, *arguments],
            env=environ,
            cwd=CHECKOUT,
            input=stdin,
            text=True,
            check=True,
        )

    def _environ(self, database_url: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "BENCH_BROKER_URL": BROKER_URL,
            "BENCH_DATABASE_URL": database_url,
            "BENCH_PREFIX": self._prefix,
        }


def _redis_answers() -> bool:
    try:
        with socket.create_connection(REDIS, timeout=2) as redis:
            redis.sendall(b"PING\r\n")
            return redis.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _count(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM attempts WHERE status_code = 200").fetchone()
    return row[0] if row else 0


def _span(connection: psycopg.Connection) -> float:
    row = connection.execute("SELECT max(ended_at) - min(started_at) FROM attempts").fetchone()
    assert row is not None
    return float(row[0]) / 1e6
