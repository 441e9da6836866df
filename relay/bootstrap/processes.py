"""Runs the processes: iterations and the waits between them, signals, and the way out.

SIGTERM or SIGINT: stop taking, finish what has begun. A second one: leave now; nothing is lost,
leases run out and others go on.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue

from relay import __version__, telemetry
from relay.bootstrap import Base
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

AFTER_UNEXPECTED_ERROR = 1.0  # seconds until the next iteration
FLUSH_TOTALS_EVERY = 5.0  # seconds: what a kill -9 can cost the totals, never the records

RunOnce = Callable[[], float]  # one iteration of a worker; returns the seconds to wait until the next


def run_poller(pollers: Sequence[Poller], housekeeper: Housekeeper, base: Base) -> int:
    """Poll until a signal: the first source on this thread; all else goes on beside it."""
    with _running(base) as stop, _beside("housekeeping", housekeeper.run_once, stop):
        with ExitStack() as others:
            for poller in pollers[1:]:
                others.enter_context(_beside("poll", poller.run_once, stop))
            _keep_running("poll", pollers[0].run_once, stop)
        for poller in pollers:
            poller.drain()
    _leave(base.store)
    return 0


def run_dispatcher(dispatcher: Dispatcher, base: Base) -> int:
    """Deliver on this thread until a signal, then until all attempts have ended; the exit code."""
    collect_garbage_seldom()
    code = 0
    with _running(base) as stop:
        try:
            abandoned = dispatcher.run(stop)
        except SenderDied as death:
            telemetry.emit(SenderLost(str(death), death.abandoned))
            abandoned, code = death.abandoned, 1
    _leave(base.store, abandoned)
    return code


@contextmanager
def _running(base: Base) -> Iterator[threading.Event]:
    """Do what every process does beside its work; the event is set by the first signal."""
    telemetry.emit(ProcessStarted(__version__))
    if base.settings.metrics_addr is not None:
        serve_metrics(base.settings.metrics_addr)

    def flush() -> float:
        """Add this process's counts to those in SQL, where every web process reads them."""
        flush_totals(base.store)
        return FLUSH_TOTALS_EVERY

    stop = _stop_on_signals()
    with _beside("totals", flush, stop):
        yield stop


def _leave(store: Store, abandoned: int = 0) -> None:
    flush_totals(store)
    store.close()
    telemetry.emit(ProcessStopped(abandoned))


def _stop_on_signals() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets; the second one ends the process at once.

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
    return stop


@contextmanager
def _beside(worker: str, run_once: RunOnce, stop: threading.Event) -> Iterator[None]:
    """Keep a worker running on another thread while the body runs; `stop` ends both."""
    thread = threading.Thread(target=_keep_running, args=(worker, run_once, stop), name=worker)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_running(worker: str, run_once: RunOnce, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            wait = run_once()
        except Exception as error:  # noqa: BLE001 - it ends one iteration only: say it and go on
            telemetry.emit(IterationFailed(worker, error, AFTER_UNEXPECTED_ERROR))
            wait = AFTER_UNEXPECTED_ERROR
        if wait > 0:
            stop.wait(wait)
