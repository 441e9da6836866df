"""The metrics of the whole fleet: gauges from the database, and the totals of all processes."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, get_type_hints

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from relay.telemetry.metrics import Total, Totals

# Seconds; scrapers come every 10 to 60, and a dashboard's reload must not load the database.
FLEET_CACHE = 5.0


@dataclass(frozen=True, slots=True)
class FleetNumbers:
    """One read of the database. Each member but `totals` is a gauge, `relay_` and its name."""

    deliveries_pending: Annotated[int, "Deliveries that still have to be made, held ones not counted."]
    deliveries_held: Annotated[int, "Deliveries held back by a paused or disabled endpoint."]
    deliveries_due: Annotated[int, "Deliveries whose time has come."]
    oldest_due_seconds: Annotated[float, "How long the oldest due delivery has been due."]
    endpoints_open: Annotated[int, "Endpoints that keep failing: their circuit is open, only probes go out."]
    endpoints_paused: Annotated[int, "Endpoints that somebody has paused."]
    endpoints_disabled: Annotated[int, "Endpoints given up: they answered 410, or failed for days."]
    jobs_open: Annotated[int, "Jobs that have not ended."]
    jobs_due: Annotated[int, "Jobs whose time to be asked for has come."]
    watches_waiting: Annotated[int, "Watches whose job has not ended."]
    totals: Totals


GAUGES: dict[str, str] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(FleetNumbers, include_extras=True).items()
    if name != "totals"
}


class Fleet(Collector):
    """The fleet's numbers as metrics, read at most every five seconds."""

    def __init__(self, read: Callable[[], FleetNumbers], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._numbers: FleetNumbers | None = None
        self._read_at = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the gauges, then the counters."""
        numbers = self._latest()
        for name, help_ in GAUGES.items():
            yield GaugeMetricFamily(f"relay_{name}", help_, value=getattr(numbers, name))
        for total in Total.every:
            yield total.family(numbers.totals)

    def _latest(self) -> FleetNumbers:
        with self._lock:
            if self._numbers is None or self._clock() - self._read_at >= FLEET_CACHE:
                self._numbers, self._read_at = self._read(), self._clock()
            return self._numbers
