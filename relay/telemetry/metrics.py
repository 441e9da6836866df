"""The metrics of this process, and how events move them.

They can be scraped in two kinds of places, which must not be added up: the web's `/metrics` and its
port speak for the whole fleet, from SQL (`fleet`); the port of another process speaks for that one
alone. Both use the same names. To make the fleet whole, each process drains what it counted into
SQL every few seconds (`drain_totals`; `restore_totals` when that failed).
"""

import threading
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
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
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import US_PER_SECOND
from relay.telemetry import events
from relay.telemetry.event import Event

Totals = Mapping[tuple[str, str], int]  # counts by the metric's name and its label or ""

registry = CollectorRegistry()
ProcessCollector(registry=registry)


class Total:
    """A counter of this process that the fleet's totals in SQL keep too, under the same name."""

    every: ClassVar[list["Total"]] = []
    pending: ClassVar[Tally[tuple[str, str]]] = Tally()
    lock: ClassVar = threading.Lock()

    def __init__(self, name: str, help_: str, label: str | None = None) -> None:
        self.name, self.help, self.labels = name, help_, [label] if label else []
        self._counter = Counter(name, help_, self.labels, registry=registry)
        self.every.append(self)

    def add(self, label: str, count: int = 1) -> None:
        """Count; `label` is "" where the metric has none."""
        (self._counter.labels(label) if self.labels else self._counter).inc(count)
        with self.lock:
            self.pending[self.name, label] += count

    def family(self, totals: Totals) -> CounterMetricFamily:
        """The metric as the fleet's totals have it."""
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for (name, label), value in sorted(totals.items()):
            if name == self.name:
                family.add_metric([label] if self.labels else [], value)
        return family


def render(collector: Collector = registry) -> tuple[bytes, str]:
    """This process's or the fleet's metrics in Prometheus' text format, and its content type."""
    return generate_latest(collector), CONTENT_TYPE_LATEST


def drain_totals() -> dict[tuple[str, str], int]:
    """Take what was counted since the last drain."""
    with Total.lock:
        drained = dict(Total.pending)
        Total.pending.clear()
    return drained


def restore_totals(drained: Totals) -> None:
    """Give back what could not be written, for the next drain."""
    with Total.lock:
        Total.pending.update(drained)


ATTEMPTS = Total(
    "relay_attempts_total", "Attempts by what came of them: delivered or the class of error.", "outcome"
)
DELIVERIES = Total("relay_deliveries_total", "Deliveries that ended, by their last status.", "status")
WATCHES = Total("relay_watches_registered_total", "New watches.")
CALLS = Total("relay_upstream_calls_total", "ListAIJob calls by what came of them.", "outcome")
IDS = Total("relay_upstream_ids_total", "Job ids asked for in ListAIJob calls.")
PROVIDER_EVENTS = Total(
    "relay_hints_total", "Event notifications from VOD by what they were good for.", "outcome"
)
ENDPOINT_CHANGES = Total(
    "relay_endpoint_turns_total", "Endpoints whose circuit opened or closed, or that were disabled.", "became"
)
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


def count(emitted: Sequence[Event]) -> None:
    """Move the metrics that events stand for; attempts, which come in batches, in bulk."""
    attempts = []
    for event in emitted:
        if isinstance(event, events.AttemptEnded):
            attempts.append(event)
        else:
            _count(event)
    if attempts:
        _count_attempts(attempts)


def _count_attempts(attempts: Sequence[events.AttemptEnded]) -> None:
    for error, number in Tally(attempt.error for attempt in attempts).items():
        ATTEMPTS.add("delivered" if error is None else error.value, number)
    for outcome, number in Tally(attempt.outcome for attempt in attempts).items():
        if outcome not in {DeliveryStatus.PENDING, DeliveryStatus.HELD}:
            DELIVERIES.add(outcome.value, number)
    for attempt in attempts:
        ATTEMPT_DURATION.observe(attempt.duration_us / US_PER_SECOND)


def _count(event: Event) -> None:  # noqa: C901 - a table: a case for each event that a metric counts
    match event:
        case events.AttemptsLost():
            ATTEMPTS.add(ErrorClass.LOST.value, event.count)
        case events.DeliveryGivenUp():
            DELIVERIES.add(event.outcome.value)
        case events.OverdueFailed():
            DELIVERIES.add(DeliveryStatus.FAILED.value, event.count)
        case events.WatchRegistered():
            WATCHES.add("", event.new)
        case events.PollEnded():
            CALLS.add(event.outcome)
            IDS.add("", event.asked)
            IDS_PER_CALL.observe(event.asked)
        case events.ProviderEventReceived():
            PROVIDER_EVENTS.add("hinted" if event.marked else "ignored")
        case events.ProviderEventRefused():
            PROVIDER_EVENTS.add("refused")
        case events.EndpointChanged():
            ENDPOINT_CHANGES.add(event.became)
        case events.UpstreamDown():
            UPSTREAM_UP.set(0)
        case events.UpstreamRecovered():
            UPSTREAM_UP.set(1)
        case events.UpstreamClockSkewed():
            UPSTREAM_CLOCK_AHEAD.set(event.seconds)
        case events.ClockDisagrees():
            CLOCK_AHEAD.set(event.seconds)
