"""Profiles a dispatcher: runs `relay deliver` with a sampler, and times every statement.

SIGUSR1 starts the measurement, SIGUSR2 ends it and writes it as JSON to the file named by the only
argument. The sampler is a thread that looks at the others' stacks 200 times a second. So that it
need not wait for somebody to let go of the interpreter's lock (which would see mostly I/O), the
lock is offered every 20 µs instead of 5 ms while it measures: that slows the whole down, so only
shares count. The processor time of each thread is the kernel's, and exact.
"""

import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import default

from bench.support_machine import CHECKOUT, thread_cpu_seconds
from relay import cli

EVERY = 0.005  # seconds between two looks
OFFER_LOCK_EVERY = 20e-6  # seconds
THREADS = {"MainThread": "claiming", "result-writer": "recording"}
FRAMEWORK = (
    "relay/cli/__init__.py",
    "relay/bootstrap/processes.py",
    "relay/db/engine.py",
    "relay/deliveries/dispatcher.py",
)
TURNING = ("Claimer.run_once", "ResultWriter.run_once")
DEPTH = 4  # of our own functions that name a stage
DATABASE = ("psycopg/connection.py", "sqlalchemy/engine/default.py")
RESTS = (
    "threading.py",
    "relay/sending/frames.py Frames.wait",
    "relay/deliveries/result_writer.py ResultWriter._take",
)


class Sampler:
    """Counts the samples of each thread by stage: computing, waiting for the database, or idle."""

    def __init__(self) -> None:
        self.on, self.off = threading.Event(), threading.Event()
        self.looks = 0
        self.seen: dict[str, Counter[str]] = {name: Counter() for name in THREADS.values()}
        self.leaves: dict[str, Counter[str]] = {name: Counter() for name in THREADS.values()}

    def run(self) -> None:
        """Sample until `stop` is set."""
        self.on.wait()
        while not self.off.wait(EVERY):
            names = {thread.ident: THREADS.get(thread.name) for thread in threading.enumerate()}
            self.looks += 1
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 - there is no public name for it
                name = names.get(ident)
                if name is not None:
                    self._note(name, [_place(one) for one in _outwards(frame)])

    def _note(self, name: str, places: list[str]) -> None:
        leaf = places[0]
        self.leaves[name][leaf] += 1
        kind = "database" if leaf.startswith(DATABASE) else "rest" if leaf.startswith(RESTS) else "computing"
        self.seen[name][f"{kind}|{_stage(places)}"] += 1


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType) -> str:
    """`file.py function`, from the checkout or from the package that it belongs to."""
    path = frame.f_code.co_filename
    short = re.sub(r"^.*/(site-packages|python3\.\d+)/", "", path.removeprefix(f"{CHECKOUT}/"))
    return f"{short} {frame.f_code.co_qualname}"


def _stage(places: list[str]) -> str:
    """The outermost of our own functions that say what is being done."""
    ours = [place for place in reversed(places) if place.startswith("relay/")]
    output = [place.split()[1] for place in ours if not place.startswith(FRAMEWORK)]
    return " > ".join([name for name in output if name not in TURNING][:DEPTH])


class Statements:
    """Times every statement and every commit: wall, and this thread's processor time."""

    def __init__(self) -> None:
        self.on = False
        self.calls: Counter[str] = Counter()
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        for name in ("do_commit", "do_rollback"):
            setattr(default.DefaultDialect, name, self._timed(name, getattr(default.DefaultDialect, name)))

    def report(self) -> list[dict[str, Any]]:
        """One object for each text: calls, seconds of wall and of processor, in all."""
        return [
            {"text": text, "calls": calls, "wall": self.wall[text], "cpu": self.cpu[text]}
            for text, calls in self.calls.items()
        ]

    def _before(self, connection: Any, *_: Any) -> None:
        connection.info["bench"] = (time.perf_counter(), time.thread_time())

    def _after(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._add(_brief(statement), *connection.info["bench"])

    def _timed(self, name: str, work: Callable[..., None]) -> Callable[..., None]:
        def timed(*arguments: Any) -> None:
            started = (time.perf_counter(), time.thread_time())
            work(*arguments)
            self._add(name.removeprefix("do_").upper(), *started)

        return timed

    def _add(self, name: str, wall: float, cpu: float) -> None:
        if self.on:
            self.calls[name] += 1
            self.wall[name] += time.perf_counter() - wall
            self.cpu[name] += time.thread_time() - cpu


def _brief(statement: str) -> str:
    """A statement on one line, without its long lists."""
    line = re.sub(r"\s+", " ", statement)
    line = re.sub(r"SELECT .*? FROM", "SELECT … FROM", line)
    line = re.sub(r"VALUES .*", "VALUES …", line)
    line = re.sub(r"UNION ALL .*", "UNION ALL …", line)
    line = re.sub(r"%\((\w+)\)s(::[A-Z]+(\(\d+\))?(\[\])?)?", r":\1", line)
    return line.replace("|", "¦")[:120]


class Measurement:
    """From SIGUSR1 to SIGUSR2."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._sampler, self._statements = Sampler(), Statements()
        self._cpu: dict[str, float] = {}
        self._started = 0.0
        threading.Thread(target=self._sampler.run, name="sampler", daemon=True).start()

    def start(self, *_signal: object) -> None:
        """Begin to look and to time."""
        sys.setswitchinterval(OFFER_LOCK_EVERY)
        self._cpu, self._started = _cpu_by_thread(), time.monotonic()
        self._statements.on = True
        self._sampler.on.set()

    def end(self, *_signal: object) -> None:
        """Write what was found, whole or not at all."""
        self._sampler.off.set()
        self._statements.on = False
        found = {
            "seconds": time.monotonic() - self._started,
            "cpu": {name: used - self._cpu.get(name, 0.0) for name, used in _cpu_by_thread().items()},
            "looks": self._sampler.looks,
            "seen": self._sampler.seen,
            "leaves": self._sampler.leaves,
            "statements": self._statements.report(),
        }
        draft = self._target.with_suffix(".draft")
        draft.write_text(json.dumps(found))
        draft.rename(self._target)


def _cpu_by_thread() -> dict[str, float]:
    used = thread_cpu_seconds(os.getpid())
    return {
        THREADS.get(thread.name, thread.name): used.get(thread.native_id or 0, 0.0)
        for thread in threading.enumerate()
    }


def main() -> int:
    measurement = Measurement(Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, measurement.start)
    signal.signal(signal.SIGUSR2, measurement.end)
    return cli.main(["deliver"])


if __name__ == "__main__":
    sys.exit(main())
