"""Every metric: what this process counts, and what the database knows of the whole fleet.

They can be scraped in two kinds of places, which must not be added up: the web's `/metrics` and its
port speak for the whole fleet, from SQL (`register_fleet`, `render`); the port of another process
speaks for that one alone (`render_own`). Both use the same names. To make the fleet whole, each
process drains what it counted into SQL every few seconds (`drain_totals`; `restore_totals` when
that failed).
"""

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

FLEET_CACHE = (
    5.0  # seconds; scrapers come every 10 to 60, and a dashboard's reload must not load the database
)

Totals = Mapping[tuple[str, str], int]

registry = CollectorRegistry()
ProcessCollector(registry=registry)


class _Total:
    """A counter of this process that the fleet's totals in SQL keep too, under the same name."""

    pending: ClassVar[Tally[tuple[str, str]]] = Tally()
    lock: ClassVar = threading.Lock()

    def __init__(self, name: str, help_: str, label: str | None = None) -> None:
        self.name, self.help, self.label = name, help_, label
        self._counter = Counter(name, help_, [label] if label else [], registry=registry)

    def add(self, label: str, count: int = 1) -> None:
        (self._counter.labels(label) if self.label else self._counter).inc(count)
        with self.lock:
            self.pending[self.name, label] += count

    def family(self, totals: Totals) -> CounterMetricFamily:
        family = CounterMetricFamily(self.name, self.help, labels=[self.label] if self.label else [])
        for (name, label), value in sorted(totals.items()):
            if name == self.name:
                family.add_metric([label] if self.label else [], value)
        return family


ATTEMPTS = _Total(
    "relay_attempts_total", "Attempts by what came of them: delivered or the class of error.", "outcome"
)
DELIVERIES = _Total("relay_deliveries_total", "Deliveries that ended, by their last status.", "status")
WATCHES = _Total("relay_watches_registered_total", "New watches.")
CALLS = _Total("relay_upstream_calls_total", "ListAIJob calls by what came of them.", "outcome")
IDS = _Total("relay_upstream_ids_total", "Job ids asked for in ListAIJob calls.")
ENDPOINT_CHANGES = _Total(
    "relay_endpoint_turns_total", "Endpoints whose circuit opened or closed, or that were disabled.", "became"
)
PROVIDER_EVENTS = _Total(
    "relay_hints_total", "Event notifications from VOD by what they were good for.", "outcome"
)
TOTALS = (ATTEMPTS, DELIVERIES, WATCHES, CALLS, IDS, PROVIDER_EVENTS, ENDPOINT_CHANGES)

ATTEMPT_DURATION = Histogram(
    "relay_attempt_duration_seconds",
    "Whole time of one attempt.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60),
    registry=registry,
)
IDS_PER_CALL = Histogram(
    "relay_upstream_ids_per_call", "Job ids in one ListAIJob call.", buckets=range(1, 11), registry=registry
)
UPSTREAM_UP = Gauge("relay_upstream_up", "0 while the provider refuses our calls, else 1.", registry=registry)
UPSTREAM_UP.set(1)
UPSTREAM_CLOCK_AHEAD = Gauge(
    "relay_upstream_clock_ahead_seconds",
    "The provider's clock minus this machine's, as it last found our time wrong.",
    registry=registry,
)
CLOCK_AHEAD = Gauge(
    "relay_clock_ahead_seconds", "This machine's clock minus the database's.", registry=registry
)


def drain_totals() -> dict[tuple[str, str], int]:
    """Take what was counted since the last drain, as (metric name, label or "") to count."""
    with _Total.lock:
        drained = dict(_Total.pending)
        _Total.pending.clear()
    return drained


def restore_totals(drained: Totals) -> None:
    """Give back what could not be written, for the next drain."""
    with _Total.lock:
        _Total.pending.update(drained)


@dataclass(frozen=True, slots=True)
class FleetNumbers:
    """The state of the whole fleet, as one read of the database; `totals` are named as in `drain_totals`."""

    deliveries_pending: int
    deliveries_held: int
    deliveries_due: int
    oldest_due_seconds: float
    endpoints_open: int
    endpoints_paused: int
    endpoints_disabled: int
    jobs_open: int
    jobs_due: int
    watches_waiting: int
    totals: Totals


FLEET_GAUGES = {
    "deliveries_pending": "Deliveries that still have to be made, held ones not counted.",
    "deliveries_held": "Deliveries held back by a paused or disabled endpoint.",
    "deliveries_due": "Deliveries whose time has come.",
    "oldest_due_seconds": "How long the oldest due delivery has been due.",
    "endpoints_open": "Endpoints that keep failing: their circuit is open, only probes go out.",
    "endpoints_paused": "Endpoints that somebody has paused.",
    "endpoints_disabled": "Endpoints given up: they answered 410, or failed for days.",
    "jobs_open": "Jobs that have not ended.",
    "jobs_due": "Jobs whose time to be asked for has come.",
    "watches_waiting": "Watches whose job has not ended.",
}


class Fleet(Collector):
    """The fleet's numbers as metrics, read from the database at most every five seconds."""

    def __init__(self, read: Callable[[], FleetNumbers], clock: Callable[[], float]) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._numbers: FleetNumbers | None = None
        self._read_at = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the gauges, then the counters."""
        numbers = self._fresh()
        for name, help_ in FLEET_GAUGES.items():
            yield GaugeMetricFamily(f"relay_{name}", help_, value=getattr(numbers, name))
        for total in TOTALS:
            yield total.family(numbers.totals)

    def _fresh(self) -> FleetNumbers:
        with self._lock:
            if self._numbers is None or self._clock() - self._read_at >= FLEET_CACHE:
                self._numbers, self._read_at = self._read(), self._clock()
            return self._numbers


def register_fleet(read: Callable[[], FleetNumbers], clock: Callable[[], float] = time.monotonic) -> Fleet:
    """Say how the fleet's numbers are read; what `read` raises, `render` raises."""
    return Fleet(read, clock)


def render(fleet: Fleet) -> tuple[bytes, str]:
    """Write the fleet's metrics in Prometheus' text format, with its content type."""
    return generate_latest(fleet), CONTENT_TYPE_LATEST


def render_own() -> tuple[bytes, str]:
    """Write this process's own metrics, as `render` does the fleet's."""
    return generate_latest(registry), CONTENT_TYPE_LATEST
