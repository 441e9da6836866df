"""The relay as real processes: gunicorn, poller, dispatcher; started, killed and stopped."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import requests

from relay.sandbox.listaijob import ACCESS_KEY_ID, ACCESS_KEY_SECRET
from tests.support.forks import ROOT, Forked

Process = Forked | subprocess.Popen[bytes]
COMMANDS = {  # what follows `python -m`
    "web": ["gunicorn", "-c", "gunicorn.conf.py", "app:app"],
    "poller": ["relay", "poll"],
    "dispatcher": ["relay", "deliver"],
}
MASTER_KEY = base64.b64encode(b"m" * 32).decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until(happened: Callable[[], Any], timeout: float, what: str) -> Any:
    """Look every 50 ms until something has happened that no event tells of; its value."""
    give_up_at = time.monotonic() + timeout
    while not (value := happened()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(0.05)
    return value


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = (path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("[0-9]*/children"))
    return [int(child) for some in found for child in some]


@dataclass
class Relay:
    """Processes of one relay on one database; `settings` are added to the environment.

    They are forked from one that has imported their code; with `forks` false, each is started as
    operators start it.
    """

    database_url: str
    provider_url: str
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    forks: bool = True
    gunicorn_config: str = "gunicorn.conf.py"
    running: dict[str, Process] = field(default_factory=dict)
    api_key: str = ""
    secret: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        return kept | {
            "DATABASE_URL": self.database_url,
            "RELAY_MASTER_KEY": MASTER_KEY,
            "RELAY_UPSTREAM_URL": self.provider_url,
            "RELAY_CALLBACK_SCHEMES": "http",
            "RELAY_CALLBACK_ALLOW": "127.0.0.0/8",
            "RELAY_ADMIN_TOKEN": "admin-token-of-tests",
            "RELAY_LOG_FORMAT": "json",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ACCESS_KEY_SECRET,
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "1",
            "PYTHONPATH": str(ROOT),
            **self.settings,
        }

    def command(self, *arguments: str) -> str:
        """Run `python -m relay …` to its end and return what it printed."""
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as wrong:
            code = self._run(["relay", *arguments], said, wrong).wait(60)
            for file in (said, wrong):
                file.seek(0)
            assert code == 0, wrong.read().decode()
            return said.read().decode()

    def _run(self, arguments: list[str], stdout: IO[bytes], stderr: IO[bytes]) -> Process:
        if self.forks:
            return Forked(arguments, self.environ, stdout.fileno(), stderr.fileno())
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=self.environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
        )

    def subscribe(self, name: str = "tests") -> None:
        made = json.loads(self.command("subscriber", "add", name))
        self.api_key, self.secret = made["api_key"], made["secret"]

    def start(self, *names: str) -> None:
        """Start processes, and wait until the web is ready."""
        for name in names or COMMANDS:
            self.launch(name)
        if "web" in self.running:
            wait_until(self.is_ready, 30, "the web is ready")

    def launch(self, name: str) -> Process:
        """Start one process; it writes to a log file of its own, one after the other life."""
        command = [self.gunicorn_config if word == "gunicorn.conf.py" else word for word in COMMANDS[name]]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = self._run(command, log, log)
        return self.running[name]

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=30).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def kill(self, name: str) -> None:
        """kill -9, and all that it started."""
        process = self.running.pop(name)
        with contextlib.suppress(ProcessLookupError):  # it is so young that it leads no group yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait(10)

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM, and wait for the end; the exit codes."""
        chosen = {name: self.running.pop(name) for name in names or list(self.running)}
        for process in chosen.values():
            process.terminate()
        return {name: process.wait(40) for name, process in chosen.items()}

    def end(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def logs(self, name: str) -> list[dict[str, Any]]:
        """What a process said, line by line."""
        lines = (self.folder / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        sent = {"Authorization": f"Bearer {self.api_key}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return requests.request(method, f"{self.url}{path}", json=body, headers=sent, timeout=30)

    def post_until_answered(self, path: str, body: Any, key: str) -> requests.Response:
        """POST as a careful client does: again with one Idempotency-Key, until it is answered."""

        def once() -> requests.Response | None:
            try:
                response = self.call("POST", path, body, Idempotency_Key=key)
            except requests.ConnectionError:
                return None
            return None if response.status_code == 503 else response

        answered: requests.Response = wait_until(once, 30, "the POST is answered")
        return answered

    def has_none(self, path: str) -> bool:
        """Whether a list is empty; not if it can't be had now."""
        try:
            response = self.call("GET", f"{path}&limit=1")
        except requests.ConnectionError:
            return False
        return response.status_code == 200 and not response.json()["data"]

    def all(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.call("GET", f"{path}{'&' if '?' in path else '?'}limit=100{cursor}").json()
            items += page["data"]
            if page["next_cursor"] is None:
                return items
            cursor = f"&cursor={page['next_cursor']}"
