"""Programs that a test ends with SIGINT, as Ctrl-C does."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def interruptible(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program that SIGINT reaches; at the end of the test it is killed if it still runs.

    A shell's background job ignores SIGINT, and all that it starts would ignore it too.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def interrupt(process: subprocess.Popen[str], timeout: float = 20) -> str:
    """Send SIGINT, and wait for the end; what the program printed since."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=timeout)[0]
