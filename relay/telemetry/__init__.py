"""Every metric and every log sentence of the relay, behind one name.

`sentences` has a function for each thing that happens; `metrics` what is counted and where it can be scraped;
`lines` how a line reads.
"""

from relay.telemetry.lines import configure
from relay.telemetry.metrics import (
    Fleet,
    FleetNumbers,
    drain_totals,
    register_fleet,
    registry,
    render,
    restore_totals,
)
from relay.telemetry.sentences import (
    attempt_ended,
    attempts_lost,
    clock_disagrees,
    job_lost,
    master_key_made,
    metrics_served,
    pass_failed,
    poll_ended,
    poll_given_up,
    process_started,
    process_stopped,
    process_stopping,
    pruned,
    serve_metrics,
    upstream_down,
    upstream_recovered,
    watch_registered,
    watches_expired,
)

__all__ = [
    "Fleet",
    "FleetNumbers",
    "attempt_ended",
    "attempts_lost",
    "clock_disagrees",
    "configure",
    "drain_totals",
    "job_lost",
    "master_key_made",
    "metrics_served",
    "pass_failed",
    "poll_ended",
    "poll_given_up",
    "process_started",
    "process_stopped",
    "process_stopping",
    "pruned",
    "register_fleet",
    "registry",
    "render",
    "restore_totals",
    "serve_metrics",
    "upstream_down",
    "upstream_recovered",
    "watch_registered",
    "watches_expired",
]
