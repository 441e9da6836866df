"""Relay processes without the second that Python takes to import their code.

They are forked from `multiprocessing`'s fork server, which has imported it all. Each then runs
`python -m relay` or `python -m gunicorn` with its own environment, process group and files.
"""

import fcntl
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STDOUT, STDERR = 1, 2  # this process's own, for a process that is to write there
# Nothing of this reads the environment, opens a connection or starts a thread when it is imported.
IMPORTED = (
    "gunicorn.app.wsgiapp",
    "relay.api.worker",
    "relay.bootstrap.processes",
    "relay.bootstrap.web",
    "relay.cli.processes",
    "relay.sending.sender",
    "tests.support.forks",
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(IMPORTED))  # it starts with the first process that is forked


class Forked:
    """Runs `python -m` with these arguments; does what tests use of `subprocess.Popen`.

    `files` become the process's descriptors 1, 2 and so on.
    """

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], *files: int) -> None:
        given = (list(arguments), dict(environ), [_File(descriptor) for descriptor in files])
        # A daemon: it ends with this process at the latest.
        self._process = CONTEXT.Process(target=_become, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = 30) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(f"forked process {self.pid}", timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _File:
    """A descriptor that goes along to a forked process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __getstate__(self) -> Any:
        return DupFd(self.descriptor)

    def __setstate__(self, duplicate: Any) -> None:
        self.descriptor = duplicate.detach()


def _become(arguments: list[str], environ: dict[str, str], files: list[_File]) -> None:
    """In the forked process: leave what was the test's behind, and run the module."""
    os.setpgid(0, 0)
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    moved = [fcntl.fcntl(file.descriptor, fcntl.F_DUPFD, 100) for file in files]
    for file in files:
        os.close(file.descriptor)
    for number, descriptor in enumerate(moved, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environ)
    random.seed()  # else all of them would draw the same numbers
    module, *sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
