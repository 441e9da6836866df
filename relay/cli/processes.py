"""The long-running processes but the web, which gunicorn runs."""

import argparse
import os

from relay import bootstrap, settings
from relay.bootstrap import processes
from relay.cli.parsers import Commands, add_command
from relay.settings import Settings
from relay.telemetry.log_format import configure


def add_to(commands: Commands) -> None:
    """Add `poll` and `deliver`."""
    add_command(commands, "poll", poll, "ask the provider about due jobs, and keep house")
    add_command(commands, "deliver", deliver, "send due deliveries")


def poll(_: argparse.Namespace) -> int:
    """Run a poller: it asks on this thread; housekeeping and totals have threads of their own."""
    loaded = _load("poller")
    store = bootstrap.build_store(loaded)
    clock = bootstrap.build_clock(store)
    poller = bootstrap.build_poller(loaded, store, clock)
    housekeeper = bootstrap.build_housekeeper(loaded, store, clock)
    processes.run_poller(poller, housekeeper, store, metrics_addr=loaded.metrics_addr)
    return 0


def deliver(_: argparse.Namespace) -> int:
    """Run a dispatcher: it claims on this thread and records results on another."""
    loaded = _load("dispatcher")
    store = bootstrap.build_store(loaded)
    dispatcher = bootstrap.build_dispatcher(loaded, store, bootstrap.build_clock(store))
    return processes.run_dispatcher(dispatcher, store, metrics_addr=loaded.metrics_addr)


def _load(process: str) -> Settings:
    loaded = settings.load(os.environ)
    configure(loaded.log_format, process)
    return loaded
