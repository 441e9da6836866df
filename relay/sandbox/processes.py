"""Keeps the relay's processes running on a developer's machine, prints their output, stops them.

A real deployment has its platform's process manager for this.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from relay.common.texts import printable

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds before a dead process is started again, doubling in between
STEADY = 10.0  # seconds of running after which the pause starts small again
COLOURS = (36, 33, 35, 32, 34, 31)  # of a process's name: cyan, yellow, magenta, green, blue, red


def read_procfile(text: str) -> dict[str, list[str]]:
    """Read `name: command` lines into argument lists; blank lines and comments are skipped.

    Raises:
        ValueError: a line is neither, with its number.
    """
    commands = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, command = line.partition(":")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not colon or not name.strip() or not command.strip():
            raise ValueError(f"Procfile, line {number}: a line reads `name: command`.")
        commands[name.strip()] = shlex.split(command)
    return commands


class Screen:
    """Prints whole lines under a name, coloured on a terminal; a closed terminal is ignored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, name: str, line: str) -> None:
        """Print one line of the process called `name`."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            print(f"{self._prefix(name)} {printable(line)}", flush=True)  # noqa: T201 - the screen is its job

    def show(self, text: str) -> None:
        """Print a text of our own as it is."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            print(text, flush=True)  # noqa: T201 - the screen is its job

    def _prefix(self, name: str) -> str:
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{name:<10}|\x1b[0m" if self._coloured else f"{name:<10}|"


class Process:
    """One program that is started again whenever it dies, until `terminate` or `kill`.

    It leads a process group of its own: a Ctrl-C at the terminal reaches only this process.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], screen: Screen) -> None:
        self.name = name
        self._command, self._environ, self._screen = command, environ, screen
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # no program may start once `_stopping` is set
        self._program: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_alive, name=name, daemon=True)

    def start(self) -> None:
        """Start it, and keep it running from a thread."""
        self._thread.start()

    def terminate(self) -> None:
        """Ask it to finish its work and stop."""
        with self._lock:
            self._stopping.set()
            if self._program is not None:
                self._program.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once."""
        self._stopping.set()
        if self._program is not None:
            _kill_group(self._program.pid)

    def wait(self, timeout: float) -> bool:
        """Wait until it has stopped; False if it has not within `timeout` seconds."""
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _keep_alive(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY:
                pause = FIRST_PAUSE
            self._screen.say(self.name, f"{_ending(code)}; starting it again in {pause:g} s.")
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _run_once(self) -> int:
        with self._lock:
            if self._stopping.is_set():
                return 0
            self._program = program = subprocess.Popen(  # noqa: S603 - the Procfile's own
                self._command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        pump = threading.Thread(target=self._pump, args=(program,), daemon=True)
        pump.start()
        code = program.wait()
        _kill_group(program.pid)  # its children would keep its port and its pipe
        pump.join(1.0)
        return code

    def _pump(self, program: subprocess.Popen[bytes]) -> None:
        assert program.stdout is not None
        with program.stdout as lines:
            for line in lines:
                self._screen.say(self.name, line.decode(errors="replace").rstrip())


def _ending(code: int) -> str:
    return f"Ended by {signal.Signals(-code).name}" if code < 0 else f"Ended with exit code {code}"


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def stop_all(processes: Sequence[Process], grace: float) -> bool:
    """Terminate all at once and wait for all; kill those that are not done within `grace` seconds.

    Returns whether all stopped by themselves.
    """
    end = time.monotonic() + grace
    for process in processes:
        process.terminate()
    late = [process for process in processes if not process.wait(end - time.monotonic())]
    for process in late:
        process.kill()
        process.wait(1.0)
    return not late
