"""Running processes: turns and the waits between them, signals, and the way out.

SIGTERM or SIGINT: stop taking, finish what has begun. A second one: leave now; nothing is lost,
leases run out and others go on.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from relay import __version__, telemetry
from relay.common.errors import SenderDied
from relay.db.engine import Store
from relay.deliveries import Dispatcher
from relay.housekeeping.housekeeper import Housekeeper, flush_totals
from relay.polling.poller import Poller
from relay.sending.garbage import collect_garbage_seldom
from relay.telemetry.events import (
    IterationFailed,
    ProcessStarted,
    ProcessStopped,
    ProcessStopping,
    SenderLost,
)
from relay.telemetry.metrics_port import serve_metrics

AFTER_UNEXPECTED_ERROR = 1.0  # seconds until the next turn
FLUSH_TOTALS_EVERY = 5.0  # seconds: what a kill -9 can cost the totals, never the records


@contextmanager
def stopping_on_signals() -> Iterator[threading.Event]:
    """An event that is set by the first SIGTERM or SIGINT; the second one ends the process at once.

    The handler only puts into a queue, which is safe wherever the signal finds the main thread;
    setting an event or writing a log line there could wait for a lock that this very thread holds.
    """
    stop = threading.Event()
    signals: SimpleQueue[int] = SimpleQueue()

    def watch() -> None:
        telemetry.emit(ProcessStopping(signal.Signals(signals.get()).name))
        stop.set()
        signals.get()
        os._exit(1)

    threading.Thread(target=watch, name="signals", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: signals.put(number))
    yield stop


def keep_running(stage: str, run_once: Callable[[], float], stop: threading.Event) -> None:
    """Take turn after turn; each returns the seconds to wait until the next. A surprise ends only one."""
    while not stop.is_set():
        try:
            wait = run_once()
        except Exception as error:  # noqa: BLE001 - the loop's last line of defence: say it and go on
            telemetry.emit(IterationFailed(stage, error, AFTER_UNEXPECTED_ERROR))
            wait = AFTER_UNEXPECTED_ERROR
        if wait > 0:
            stop.wait(wait)


@contextmanager
def beside(stage: str, run_once: Callable[[], float], stop: threading.Event) -> Iterator[None]:
    """Keep turning on another thread while the body runs; `stop` ends both."""
    thread = threading.Thread(target=keep_running, args=(stage, run_once, stop), name=stage)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def flush_once(store: Store) -> Callable[[], float]:
    """A turn that adds this process's counts to those kept in SQL, where every web process reads them."""

    def run_once() -> float:
        flush_totals(store)
        return FLUSH_TOTALS_EVERY

    return run_once


def run_poller(poller: Poller, housekeeper: Housekeeper, store: Store, *, metrics_addr: str | None) -> None:
    """Poll on this thread until told to stop; housekeeping and totals go on beside it."""
    telemetry.emit(ProcessStarted(__version__))
    if metrics_addr is not None:
        serve_metrics(metrics_addr)
    with (
        stopping_on_signals() as stop,
        beside("tidy", housekeeper.run_once, stop),
        beside("totals", flush_once(store), stop),
    ):
        keep_running("poll", poller.run_once, stop)
        poller.drain()
    _leave(store)


def run_dispatcher(dispatcher: Dispatcher, store: Store, *, metrics_addr: str | None) -> int:
    """Deliver on this thread until told to stop, then until what is in flight has ended; the exit code."""
    telemetry.emit(ProcessStarted(__version__))
    collect_garbage_seldom()
    if metrics_addr is not None:
        serve_metrics(metrics_addr)
    try:
        with stopping_on_signals() as stop, beside("totals", flush_once(store), stop):
            abandoned = dispatcher.run(stop)
    except SenderDied as death:
        telemetry.emit(SenderLost(str(death), death.abandoned))
        _leave(store, death.abandoned)
        return 1
    _leave(store, abandoned)
    return 0


def _leave(store: Store, abandoned: int = 0) -> None:
    flush_totals(store)
    store.close()
    telemetry.emit(ProcessStopped(abandoned))
