"""The long-running processes but the web, which gunicorn runs."""

import argparse
import os

from relay import bootstrap, settings
from relay.bootstrap import processes
from relay.cli.parsers import Commands, add_command
from relay.telemetry.log_format import configure


def add_to(commands: Commands) -> None:
    """Add `poll` and `deliver`."""
    add_command(commands, "poll", poll, "ask the provider about due jobs, and keep house")
    add_command(commands, "deliver", deliver, "send due deliveries")


def poll(_: argparse.Namespace) -> int:
    """Run a poller: it asks on this thread; housekeeping and totals have threads of their own."""
    base = _base("poller")
    return processes.run_poller(bootstrap.build_pollers(base), bootstrap.build_housekeeper(base), base)


def deliver(_: argparse.Namespace) -> int:
    """Run a dispatcher: it claims on this thread and records results on another."""
    base = _base("dispatcher")
    return processes.run_dispatcher(bootstrap.build_dispatcher(base), base)


def _base(process: str) -> bootstrap.Base:
    loaded = settings.load(os.environ)
    configure(loaded.log_format, process)
    return bootstrap.build_base(loaded)
