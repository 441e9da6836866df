"""A whole relay on this machine for a while: real processes in a folder, and a receiver.

The sandbox stands in the provider's place. Nothing of the environment's settings gets in, so that
it never touches a real database or a real account.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import requests

from relay.common.errors import RelayError
from relay.sandbox import run
from relay.sandbox.processes import Process, Screen, read_procfile, stop_all
from relay.sandbox.receiver import Answer, Received, Receiver, verified
from relay.settings import names_a_setting

READY_WITHIN = 30.0  # seconds for the processes to start; an idle machine needs about 2
STOP_WITHIN = 20.0  # seconds for a drain; an attempt may take up to 15
CHECK_EVERY = 0.1  # seconds between two checks of a state that no event announces
SETTINGS = {
    "RELAY_MISSING_GRACE": "5",
    "RELAY_RETRY_SCHEDULE": "2,5,10",
    "RELAY_LOG_FORMAT": "json",
    "WEB_CONCURRENCY": "1",
}


class StackFailed(RelayError):
    """A part of the stack failed; the sentence says which."""


@dataclass(frozen=True, slots=True)
class RelayStack:
    """A running relay: where its API and its sandbox are, and the receiver of its webhooks."""

    base: str
    sandbox_url: str
    database_url: str
    subscriber: dict[str, str]
    receiver: Receiver


@contextmanager
def running_stack(
    folder: Path,
    *,
    answer: Callable[[Received], Answer] = verified,
    settings: Mapping[str, str] | None = None,
) -> Iterator[RelayStack]:
    """Run sandbox, web, poller, dispatcher and a receiver, with one subscriber.

    Args:
        folder: where the database, its master key and a log file for each process go.
        answer: what the receiver answers; it verifies with the subscriber's secret.
        settings: environment variables for the processes, over the stack's own.

    Raises:
        StackFailed: it did not start.
    """
    web, sandbox = run.free_port(), run.free_port()
    base, database_url = f"http://127.0.0.1:{web}", f"sqlite:///{folder / 'relay.db'}"
    own = SETTINGS | {"DATABASE_URL": database_url} | dict(settings or {})
    environ = run.environment(without_settings(os.environ) | own, web, sandbox)
    _relay(environ, "migrate")
    subscriber = json.loads(_relay(environ, "subscriber", "add", "demo"))
    commands = read_procfile(Path("Procfile").read_text(encoding="utf-8"))
    del commands["release"]
    commands["sandbox"] = [sys.executable, "-m", "relay", "sandbox", "--port", str(sandbox)]
    with (
        Receiver(secret=subscriber["secret"], answer=answer) as receiver,
        _running(commands, environ, LogFiles(folder)),
    ):
        wait_until(lambda: run.status_of(f"{base}/readyz") == 200, READY_WITHIN, "the web to be ready")
        yield RelayStack(base, f"http://127.0.0.1:{sandbox}", database_url, subscriber, receiver)


def _relay(environ: Mapping[str, str], *arguments: str) -> str:
    """Run one command of the relay's command line and return its output."""
    command = [sys.executable, "-m", "relay", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise StackFailed(f"`relay {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def _running(
    commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], screen: Screen
) -> Iterator[None]:
    processes: list[Process] = []
    try:
        for name, command in commands.items():
            processes.append(Process(name, command, environ, screen))
            processes[-1].start()
        yield
    finally:
        try:
            stop_all(processes, STOP_WITHIN)
        finally:
            for process in processes:
                process.kill()


class LogFiles(Screen):
    """Writes the output of each process to a file of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._writing = Lock()

    def say(self, name: str, line: str) -> None:
        """Append one line of the process called `name`."""
        with self._writing, suppress(OSError), (self._folder / f"{name}.log").open("a") as log:
            log.write(f"{line}\n")


class Api:
    """A client of an HTTP API whose bodies are JSON."""

    def __init__(self, base: str, api_key: str = "") -> None:
        self._base = base
        self._session = requests.Session()
        self._session.trust_env = False  # loopback is never behind a proxy
        self._session.headers["Authorization"] = f"Bearer {api_key}"

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Call, and return the answer's document.

        Raises:
            StackFailed: no answer came, or one without a 2xx, which the sentence then quotes.
        """
        try:
            answer = self._session.request(method, f"{self._base}{path}", json=body, timeout=10)
        except requests.RequestException as error:
            raise StackFailed(f"{method} {path}: nobody answered ({type(error).__name__})") from error
        if not answer.ok:
            raise StackFailed(f"{method} {path} was answered {answer.status_code}: {answer.text}")
        return answer.json()


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment with none of the relay's settings in it."""
    return {
        name: value
        for name, value in environ.items()
        if not names_a_setting(name) and not name.startswith("RELAY_")
    }


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Check a condition until it holds.

    Raises:
        StackFailed: it does not hold in time.
    """
    give_up_at = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up_at:
            raise StackFailed(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(CHECK_EVERY)
