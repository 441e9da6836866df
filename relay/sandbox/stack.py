"""A whole relay on this machine for a while: real processes in a folder of their own, and a receiver.

The sandbox stands in the provider's place. Nothing of the environment's settings gets in, so that
it never touches a real database or a real account.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Self

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


class RelayStack:
    """Sandbox, web, poller, dispatcher, a subscriber and a receiver, from `with` to its end.

    Args:
        folder: where the database, its master key and a log file for each process go.
        answer: what the receiver answers; it verifies with the subscriber's secret.
        settings: environment variables for the processes, over the stack's own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        answer: Callable[[Received], Answer] = verified,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        web, sandbox = run.free_port(), run.free_port()
        self.database_url = f"sqlite:///{folder / 'relay.db'}"
        self.base = f"http://127.0.0.1:{web}"
        self.sandbox_url = f"http://127.0.0.1:{sandbox}"
        self.subscriber: dict[str, str] = {}
        self._answer = answer
        own = SETTINGS | {"DATABASE_URL": self.database_url} | dict(settings or {})
        self._environ = run.environment(without_settings(os.environ) | own, web, sandbox)
        commands = read_procfile(Path("Procfile").read_text(encoding="utf-8"))
        del commands["release"]
        commands["sandbox"] = [sys.executable, "-m", "relay", "sandbox", "--port", str(sandbox)]
        logs = LogFiles(folder)
        self._processes = [Process(name, line, self._environ, logs) for name, line in commands.items()]
        self._running: list[Process] = []
        self._receiver: Receiver | None = None

    @property
    def receiver(self) -> Receiver:
        """The receiver of the webhooks."""
        assert self._receiver is not None, "the receiver listens from `with` to its end"
        return self._receiver

    @property
    def names(self) -> list[str]:
        """The processes."""
        return [process.name for process in self._processes]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop()

    def relay(self, *arguments: str) -> str:
        """Run one command of the relay's command line and return what it prints.

        Raises:
            StackFailed: it exited with another code than 0.
        """
        command = [sys.executable, "-m", "relay", *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            raise StackFailed(f"`relay {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def _start(self) -> None:
        self.relay("migrate")
        self.subscriber = json.loads(self.relay("subscriber", "add", "demo"))
        for process in self._processes:
            process.start()
            self._running.append(process)
        self._receiver = Receiver(secret=self.subscriber["secret"], answer=self._answer).start()
        ready = f"{self.base}/readyz"
        wait_until(lambda: run.status_of(ready) == 200, READY_WITHIN, "the web to be ready")

    def _stop(self) -> None:
        try:
            stop_all(self._running, STOP_WITHIN)
        finally:
            for process in self._running:
                process.kill()
            if self._receiver is not None:
                self._receiver.stop()


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
