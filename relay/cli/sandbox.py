"""Trying Relay on one machine: a receiver, a stand-in for the provider, the demo, all at once."""

import argparse
import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from relay.cli.parsers import Commands, add_command
from relay.provider.registry import DEFAULT_SOURCE, SOURCES
from relay.settings.types import Number, WholeNumber


def _argument(kind: Any, allowed: str) -> Callable[[str], object]:
    """The type of an option: what pydantic refuses, argparse answers with what is allowed."""
    adapter = TypeAdapter(kind)

    def read(text: str) -> object:
        try:
            return adapter.validate_python(text)
        except ValidationError:
            raise argparse.ArgumentTypeError(f"must be {allowed}") from None

    return read


PORT = _argument(Annotated[WholeNumber, Field(ge=0, le=65_535)], "a whole number from 0 to 65535")
STATUS = _argument(Annotated[WholeNumber, Field(ge=200, le=599)], "a whole number from 200 to 599")
TIMES = _argument(Annotated[WholeNumber, Field(ge=1, le=1_000_000)], "a whole number from 1 to 1000000")
SECONDS = _argument(Annotated[Number, Field(ge=0, le=3600)], "seconds from 0 to 3600, in plain digits")
HEADER = _argument(Annotated[str, Field(pattern="^[!-~]([ -~]{0,200}[!-~])?$")], "printable ASCII")


def add_to(commands: Commands) -> None:
    """Add `listen`, `sandbox`, `demo` and `run`."""
    _add_listen(commands)
    playing = add_command(
        commands, "sandbox", serve_sandbox, "a local ListAIJob that answers as the provider does"
    )
    playing.add_argument("--host", default="127.0.0.1")
    playing.add_argument("--port", type=PORT, default=8090)
    playable = [name for name, source in SOURCES.items() if source.sandbox is not None]
    playing.add_argument("--source", choices=playable, default=DEFAULT_SOURCE, help="the source to play")
    add_command(commands, "demo", run_demo, "show the whole relay at work on this machine")
    add_command(commands, "run", run_all, "run every process on this machine (what ./dev run does)")


def _add_listen(commands: Commands) -> None:
    listening = add_command(commands, "listen", listen, "a local receiver that verifies and prints webhooks")
    listening.add_argument("--host", default="127.0.0.1")
    listening.add_argument("--port", type=PORT, default=9000)
    listening.add_argument("--secret", help="the whsec_… that signs; without it nothing is verified")
    group = listening.add_argument_group(
        "to rehearse trouble", "Without these, webhooks are answered 200, or 400 if the signature fails."
    )
    answers = group.add_mutually_exclusive_group()
    answers.add_argument("--status", type=STATUS, help="answer with this status, 200 to 599")
    answers.add_argument("--gone", action="store_const", const=410, dest="status", help="answer 410 Gone")
    group.add_argument("--retry-after", type=HEADER, help="a Retry-After to go with it; alone, with a 503")
    group.add_argument("--delay", type=SECONDS, default=0.0, help="seconds before each answer, up to 3600")
    group.add_argument("--times", type=TIMES, help="only for the first so many; then answer as usual")


def listen(arguments: argparse.Namespace) -> int:
    """Receive webhooks until interrupted."""
    from relay.sandbox import receiver  # noqa: PLC0415 - large: see relay.cli

    status = arguments.status
    if status is None and arguments.retry_after is not None:
        status = 503
    answer = receiver.rehearsal(
        status=status, delay=arguments.delay, retry_after=arguments.retry_after, times=arguments.times
    )
    receiver.serve(arguments.host, arguments.port, arguments.secret, sys.stdout, answer)
    return 0


def serve_sandbox(arguments: argparse.Namespace) -> int:
    """Play the provider until interrupted."""
    module = SOURCES[arguments.source].sandbox
    assert module is not None, "the option takes only sources that have one"
    importlib.import_module(module).serve(arguments.host, arguments.port)
    return 0


def run_demo(_: argparse.Namespace) -> int:
    """What ./dev demo does."""
    from relay.sandbox import demo  # noqa: PLC0415 - large: see relay.cli

    return demo.main()


def run_all(_: argparse.Namespace) -> int:
    """What ./dev run does."""
    from relay.sandbox import run  # noqa: PLC0415 - large: see relay.cli

    return run.main()
