"""The dispatchers under test: real `python -m relay deliver` processes, each with a log file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.support_machine import CHECKOUT, cpu_seconds, wait_until
from bench.support_world import MASTER_KEY_TEXT
from tests.support.processes import children

RELAY = ("-m", "relay", "deliver")
WARM_UP_SECONDS = 1.0  # seconds after its first line until a process has all it needs and only waits
KEPT = ("PATH", "HOME", "LANG")


@dataclass
class Dispatchers:
    """So many dispatcher processes on one database, from `with` to the signal that ends them."""

    database_url: str
    folder: Path
    number: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = RELAY
    end_by: signal.Signals = signal.SIGTERM
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        for index in range(self.number):
            with self._log(index).open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, *self.program],
                        env=self.environ(),
                        cwd=CHECKOUT,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                )
        wait_until(
            lambda: all(self._has_started(index) for index in range(self.number)), 20, "dispatchers started"
        )
        time.sleep(WARM_UP_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.send_signal(self.end_by if kind is None else signal.SIGKILL)
        for process in self.processes:
            process.wait(40)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes, and of those that send for them."""
        own = [process.pid for process in self.processes]
        return [*own, *(child for pid in own for child in children(pid))]

    def cpu(self) -> float:
        """Processor seconds used so far, all together."""
        return cpu_seconds(self.pids)

    def environ(self) -> dict[str, str]:
        """The settings, and nothing of this process's own environment that could change them."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | {
            "DATABASE_URL": self.database_url,
            "RELAY_MASTER_KEY": MASTER_KEY_TEXT,
            "RELAY_CALLBACK_SCHEMES": "http",
            "RELAY_CALLBACK_ALLOW": "127.0.0.0/8",
            "RELAY_LOG_FORMAT": "json",
            **self.settings,
        }

    def complaints(self) -> list[str]:
        """What they said at WARNING or above, but for attempts that failed."""
        lines = [line for index in range(self.number) for line in self._log(index).read_text().splitlines()]
        output = [json.loads(line) for line in lines if line.startswith("{")]
        return [
            line["message"]
            for line in output
            if line["level"] not in {"debug", "info"} and line["event"] != "attempt_ended"
        ]

    def _log(self, index: int) -> Path:
        return self.folder / f"dispatcher-{index}.log"

    def _has_started(self, index: int) -> bool:
        if self.processes[index].poll() is not None:
            raise RuntimeError(f"the dispatcher ended at once: {self._log(index).read_text()[-2000:]}")
        return '"process_started"' in self._log(index).read_text()
