"""Running processes: turns and the waits between them, signals, and the way out.

SIGTERM or SIGINT: stop taking, finish what has begun. A second one: leave now; nothing is lost, leases run
out and others go on.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from relay import __version__, telemetry
from relay.core.errors import SenderDied
from relay.core.garbage import look_for_garbage_seldom
from relay.deliver import Dispatcher
from relay.poll import Poller
from relay.store.engine import Store
from relay.tidy import Tidier, flush_totals

AFTER_A_SURPRISE = 1.0  # seconds until the next turn
FLUSH_TOTALS_EVERY = 5.0  # seconds: what a kill -9 can cost the totals, never the records


@contextmanager
def stopping_on_signals() -> Iterator[threading.Event]:
    """An event that is set by the first SIGTERM or SIGINT; the second one ends the process at once.

    The handler only puts into a queue, which is safe wherever the signal finds the main thread; setting an
    event or writing a log line there could wait for a lock that this very thread holds.
    """
    stop = threading.Event()
    signals: SimpleQueue[int] = SimpleQueue()

    def watch() -> None:
        telemetry.process_stopping(signal.Signals(signals.get()).name)
        stop.set()
        signals.get()
        os._exit(1)

    threading.Thread(target=watch, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: signals.put(number))
    yield stop


def keep_turning(stage: str, turn: Callable[[], float], stop: threading.Event) -> None:
    """Take turn after turn; each returns the seconds to wait until the next. A surprise ends only one."""
    while not stop.is_set():
        try:
            wait = turn()
        except Exception as error:  # noqa: BLE001 - the loop's last line of defence: say it and go on
            telemetry.pass_failed(stage, error, AFTER_A_SURPRISE)
            wait = AFTER_A_SURPRISE
        if wait > 0:
            stop.wait(wait)


@contextmanager
def beside(stage: str, turn: Callable[[], float], stop: threading.Event) -> Iterator[None]:
    """Keep turning on another thread while the body runs; `stop` ends both."""
    thread = threading.Thread(target=keep_turning, args=(stage, turn, stop), name=stage)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def totals_turn(store: Store) -> Callable[[], float]:
    """A turn that adds this process's counts to those kept in SQL, where every web process reads them."""

    def turn() -> float:
        flush_totals(store)
        return FLUSH_TOTALS_EVERY

    return turn


def run_poller(poller: Poller, tidier: Tidier, store: Store, *, metrics_addr: str | None) -> None:
    """Poll on this thread until told to stop; housekeeping and totals go on beside it."""
    telemetry.process_started(version=__version__)
    if metrics_addr is not None:
        telemetry.serve_metrics(metrics_addr)
    with (
        stopping_on_signals() as stop,
        beside("tidy", tidier.turn, stop),
        beside("totals", totals_turn(store), stop),
    ):
        keep_turning("poll", poller.turn, stop)
        poller.drain()
    _leave(store)


def run_dispatcher(dispatcher: Dispatcher, store: Store, *, metrics_addr: str | None) -> int:
    """Deliver on this thread until told to stop, then until what is in flight has ended; the exit code."""
    telemetry.process_started(version=__version__)
    look_for_garbage_seldom()
    if metrics_addr is not None:
        telemetry.serve_metrics(metrics_addr)
    try:
        with stopping_on_signals() as stop, beside("totals", totals_turn(store), stop):
            abandoned = dispatcher.run(stop)
    except SenderDied as death:
        telemetry.sender_died(str(death), death.abandoned)
        _leave(store, death.abandoned)
        return 1
    _leave(store, abandoned)
    return 0


def _leave(store: Store, abandoned: int = 0) -> None:
    flush_totals(store)
    store.close()
    telemetry.process_stopped(abandoned=abandoned)
