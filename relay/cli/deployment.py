"""What is done around a deployment: migrating the database, looking at the settings."""

import argparse
import os
import sys

from relay import settings
from relay.cli.parsers import Commands, add_command


def add_to(commands: Commands) -> None:
    """Add `migrate` and `settings`."""
    migrating = add_command(
        commands, "migrate", migrate_database, "bring the database to the newest revision"
    )
    migrating.add_argument("--check", action="store_true", help="only compare migrations and tables")
    add_command(commands, "settings", show_settings, "print the effective settings, secrets hidden")


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
