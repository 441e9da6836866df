"""Running Relay: its processes (but the web, which gunicorn runs), its database, its settings."""

import argparse
import os
import sys

from relay import bootstrap, settings
from relay.bootstrap import processes
from relay.cli.parsers import Commands, add_command
from relay.telemetry.log_format import configure


def add_to(commands: Commands) -> None:
    """Add `poll`, `deliver`, `migrate` and `settings`."""
    add_command(commands, "poll", poll, "ask the provider about due jobs, and keep house")
    add_command(commands, "deliver", deliver, "send due deliveries")
    migrating = add_command(
        commands, "migrate", migrate_database, "bring the database to the newest revision"
    )
    migrating.add_argument("--check", action="store_true", help="only compare migrations and tables")
    add_command(commands, "settings", show_settings, "print the effective settings, secrets hidden")


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


def migrate_database(arguments: argparse.Namespace) -> int:
    """Migrate, or with --check say whether the migrations make the tables that the code expects."""
    from relay.db import migrate  # noqa: PLC0415 - large: see relay.cli

    if arguments.check:  # on an empty SQLite database; the tests compare the others
        differences = migrate.check_on_scratch()
        for difference in differences:
            sys.stderr.write(f"migrations and tables differ: {difference}\n")
        return 1 if differences else 0
    before, after = migrate.upgrade(settings.load(os.environ).database_url.get_secret_value())
    change = "is at revision" if before == after else f"was brought from {before or 'empty'} to"
    sys.stdout.write(f"The database {change} {after}.\n")
    return 0


def show_settings(_: argparse.Namespace) -> int:
    """Print every setting as it takes effect."""
    rows = settings.describe(settings.load(os.environ))
    width = max(len(name) for name, _, _ in rows)
    for name, value, note in rows:
        sys.stdout.write(f"{name:<{width}}  {value}{f'  ({note})' if note else ''}\n")
    return 0
