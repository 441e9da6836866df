"""The command line: `python -m relay COMMAND`, with the settings from the environment.

Exit codes: 0 done, 1 it could not be done (a sentence says why), 2 wrong usage or settings.

A large import that only one command needs (Flask in the sandbox, Alembic) stands inside that
command: a dispatcher is not to carry it.
"""

import argparse
import sys
from collections.abc import Sequence

from relay import __version__
from relay.cli import processes, sandbox, subscribers
from relay.common.errors import RelayError, SettingsError


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return 2
    except RelayError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def build_parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(prog="python -m relay", description="A webhook relay for AI jobs.")
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (processes, subscribers, sandbox):
        group.add_to(commands)
    return parser
