"""Relay processes without the second that Python takes to import their code.

One process of a test worker has imported everything; each relay process is forked from it and then runs
what `python -m relay` or `python -m gunicorn` runs, in an environment, a process group and with files of
its own. That is most of the processor time of tests which start processes. `Forked` stands for such a
process as `subprocess.Popen` does for others.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import queue
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN = 60.0  # seconds for the first fork, imports included, on a machine that is busy


class Forked:
    """A process that was forked: what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"forked process {self.pid}", timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def ended(self, code: int) -> None:
        """Called once the process has been waited for."""
        self.returncode = code
        self._ended.set()


class Nursery:
    """The process that others are forked from; it ends with this one."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forks", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        self._lock = threading.Lock()
        self._started: queue.SimpleQueue[Forked] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(os.dup(self._control.fileno()),), daemon=True).start()

    def close(self) -> None:
        """End the nursery, but none of those that it forked."""
        self._control.shutdown(socket.SHUT_WR)
        self._process.wait(10)
        self._control.close()

    def fork(self, arguments: Sequence[str], environ: Mapping[str, str], stdout: int, stderr: int) -> Forked:
        """Start `python -m …` with these arguments; the files are its standard output and error."""
        order = json.dumps({"arguments": list(arguments), "environ": dict(environ)}).encode() + b"\n"
        with self._lock:
            sent = socket.send_fds(self._control, [order], [stdout, stderr])
            self._control.sendall(order[sent:])
            return self._started.get(timeout=START_WITHIN)

    def _listen(self, control: int) -> None:
        """Take what the nursery says: `started PID`, and later `ended PID CODE`."""
        running: dict[str, Forked] = {}
        with os.fdopen(control, "r", closefd=True) as said:
            for line in said:
                match line.split():
                    case ["started", pid]:
                        running[pid] = Forked(int(pid))
                        self._started.put(running[pid])
                    case ["ended", pid, code]:
                        running.pop(pid).ended(int(code))


@functools.cache
def nursery() -> Nursery:
    """This process's own, started when it is first needed."""
    made = Nursery()
    atexit.register(made.close)
    return made


# The nursery's side.


def serve(control: socket.socket) -> None:
    """Fork a process for each order, and say when one ends, until the other side is gone."""
    _import_everything()
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([control, woken], [], [])
        if woken in readable:
            _drain(woken)
            for pid, code in _ended():
                control.sendall(f"ended {pid} {code}\n".encode())
        if control in readable:
            order, files = _take_order(control)
            if order is None:
                return
            pid = os.fork()
            if pid == 0:
                for end in (control, woken, wake):
                    end.close()
                _become(order, files)
            with contextlib.suppress(PermissionError):
                os.setpgid(pid, pid)  # here too: whoever hears of the process may kill its group at once
            for file in files:
                os.close(file)
            control.sendall(f"started {pid}\n".encode())


def _import_everything() -> None:
    """Import what web, poller and dispatcher need; nothing of it reads the environment or starts a thread."""
    for module in ("gunicorn.app.wsgiapp", "relay.api.worker", "relay.bootstrap.web", "relay.cli"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a child then leaves the pages that it shares with the others alone


def _drain(woken: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while woken.recv(4096):
            pass


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _take_order(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    data, files, _, _ = socket.recv_fds(control, 1 << 20, 2)
    while data and not data.endswith(b"\n"):
        data += control.recv(1 << 20)
    return (json.loads(data) if data else None), files


def _become(order: Mapping[str, Any], files: Sequence[int]) -> None:
    """In the child: leave all that was the nursery's behind, and run the module to the process's end."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["environ"])
    random.seed()  # else all would go on where the nursery was
    module, *arguments = order["arguments"]
    sys.argv = ["", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
