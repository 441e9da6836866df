"""Log events and metrics: `emit` counts an event and writes its line.

`events` declares each event, `metrics` has the metrics and which events move them, `log_format`
writes lines, `fleet` has the metrics of all processes together, `metrics_port` serves metrics.
"""

from relay.telemetry import log_format, metrics
from relay.telemetry.event import Event


def emit(*events: Event) -> None:
    """Count events and log them; a batch in one call is counted in bulk and written at once."""
    metrics.count(events)
    log_format.write(events)
