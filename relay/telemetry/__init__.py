"""Log events and metrics: `emit` takes an event, which is counted and written as a line of the log.

`events` declares each event, `metrics` counts some of them, `log_format` writes the lines, `fleet`
has the numbers of all processes, `metrics_port` serves metrics.
"""

from relay.telemetry import log_format, metrics
from relay.telemetry.events import Event


def emit(*events: Event) -> None:
    """Count events and log them; those of one call are counted in bulk and written at once."""
    metrics.count(events)
    log_format.write(events)
