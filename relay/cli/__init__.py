"""The command line: `python -m relay COMMAND`. Every command reads the settings from the environment.

Exit codes: 0 done, 1 it could not be done (a sentence says why), 2 wrong usage or settings.

What only one command needs, and is large (Flask in the sandbox, Alembic), is imported by that
command: a dispatcher is not to carry it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence

from relay import __version__, bootstrap, settings, telemetry
from relay.bootstrap import processes
from relay.common.errors import RelayError, SettingsError
from relay.settings import Settings
from relay.settings.types import Wrong, integer, matching, number
from relay.subscribers.sql import reencryption, subscribers

Command = Callable[[argparse.Namespace], int]


def _argument(read: Callable[[str], object]) -> Callable[[str], object]:
    """A reader of settings' texts as the type of an option: argparse tells what it says is wrong."""

    def parse(text: str) -> object:
        try:
            return read(text)
        except Wrong as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


PORT = _argument(integer(0, 65_535))
STATUS = _argument(integer(200, 599))
TIMES = _argument(integer(1, 1_000_000))
SECONDS = _argument(number(0, 3600, "seconds"))
HEADER = _argument(matching("[!-~]([ -~]{0,200}[!-~])?", "printable ASCII"))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    parsed = build_parser().parse_args(arguments)
    command: Command = parsed.command
    try:
        return command(parsed)
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return 2
    except RelayError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    parser = argparse.ArgumentParser(prog="python -m relay", description="A webhook relay for AI jobs.")
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, help_: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_)
        added.set_defaults(command=command)
        return added

    add("poll", poll, "ask the provider about due jobs, and keep house")
    add("deliver", deliver, "send due deliveries")
    migrating = add("migrate", migrate_database, "bring the database to the newest revision")
    migrating.add_argument("--check", action="store_true", help="only compare migrations and tables")
    add("settings", show_settings, "print the effective settings, secrets hidden")
    _add_subscriber_commands(commands)
    _add_key_commands(commands)
    _add_secrets_commands(commands)
    _add_listen_options(add("listen", listen, "a local receiver that verifies and prints webhooks"))
    sandboxing = add("sandbox", serve_sandbox, "a local ListAIJob that answers as the provider does")
    sandboxing.add_argument("--host", default="127.0.0.1")
    sandboxing.add_argument("--port", type=PORT, default=8090)
    add("demo", run_demo, "show the whole relay at work on this machine")
    add("run", run_all, "run every process on this machine (what ./dev run does)")
    return parser


def _add_listen_options(listening: argparse.ArgumentParser) -> None:
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


def _add_subscriber_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = commands.add_parser("subscriber", help="the services that may call the API").add_subparsers(
        required=True, metavar="add|list|disable"
    )
    adding = group.add_parser(
        "add", help="make one; prints its id, API key and secret, the key this once only"
    )
    adding.add_argument("name")
    adding.set_defaults(command=add_subscriber)
    group.add_parser("list", help="all of them").set_defaults(command=list_subscribers)
    disabling = group.add_parser("disable", help="refuse its keys from now on")
    disabling.add_argument("subscriber", help="its id or name")
    disabling.set_defaults(command=disable_subscriber)


def _add_key_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = commands.add_parser("key", help="the API keys of a subscriber").add_subparsers(
        required=True, metavar="add|revoke"
    )
    adding = group.add_parser("add", help="make another key; it is shown this once only")
    adding.add_argument("subscriber", help="its id or name")
    adding.set_defaults(command=add_key)
    revoking = group.add_parser("revoke", help="refuse a key from now on")
    revoking.add_argument("key", help="the key's id")
    revoking.set_defaults(command=revoke_key)


def _add_secrets_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = commands.add_parser("secrets", help="the secrets that are sealed in the database").add_subparsers(
        required=True, metavar="rotate"
    )
    group.add_parser(
        "rotate",
        help="seal them all anew under the first key of RELAY_MASTER_KEY; nothing has to stop for it",
    ).set_defaults(command=rotate_secrets)


def _load(process: str) -> Settings:
    loaded = settings.load(os.environ)
    telemetry.configure(loaded.log_format, process)
    return loaded


def poll(_: argparse.Namespace) -> int:
    """The poller: asking on this thread, housekeeping and totals on threads of their own."""
    loaded = _load("poller")
    store = bootstrap.build_store(loaded)
    clock = bootstrap.build_clock(store)
    poller = bootstrap.build_poller(loaded, store, clock)
    housekeeper = bootstrap.build_housekeeper(loaded, store, clock)
    processes.run_poller(poller, housekeeper, store, metrics_addr=loaded.metrics_addr)
    return 0


def deliver(_: argparse.Namespace) -> int:
    """The dispatcher: claims on this thread, settles on another, libcurl in a process of its own."""
    loaded = _load("dispatcher")
    store = bootstrap.build_store(loaded)
    dispatcher = bootstrap.build_dispatcher(loaded, store, bootstrap.build_clock(store))
    return processes.run_dispatcher(dispatcher, store, metrics_addr=loaded.metrics_addr)


def migrate_database(arguments: argparse.Namespace) -> int:
    """Migrate, or with --check say whether the migrations make the tables that the code expects."""
    from relay.db import migrate  # noqa: PLC0415 - as on top

    if arguments.check:
        return _check_migrations(migrate.check_on_scratch())
    url = settings.load(os.environ).database_url.get_secret_value()
    before, after = migrate.upgrade(url)
    told = (
        f"is at revision {after}" if before == after else f"was brought from {before or 'empty'} to {after}"
    )
    sys.stdout.write(f"The database {told}.\n")
    return 0


def _check_migrations(differences: Sequence[object]) -> int:
    """Tell what an empty SQLite database lacks after migrating; the tests compare the others."""
    for difference in differences:
        sys.stderr.write(f"migrations and tables differ: {difference}\n")
    return 1 if differences else 0


def show_settings(_: argparse.Namespace) -> int:
    """Print every setting as it takes effect."""
    rows = settings.describe(settings.load(os.environ))
    width = max(len(name) for name, _, _ in rows)
    for name, value, note in rows:
        sys.stdout.write(f"{name:<{width}}  {value}{f'  ({note})' if note else ''}\n")
    return 0


def add_subscriber(arguments: argparse.Namespace) -> int:
    """Print the new subscriber as one JSON object."""
    loaded = settings.load(os.environ)
    store = bootstrap.build_store(loaded)
    clock = bootstrap.build_clock(store)
    made = store.write_once(
        subscribers.add,
        arguments.name,
        bootstrap.build_encryption(loaded),
        clock.now(),
        bootstrap.id_maker(clock),
    )
    _print({"id": made.id, "api_key": made.api_key, "secret": made.secret})
    return 0


def list_subscribers(_: argparse.Namespace) -> int:
    """Print each subscriber as one JSON object a line."""
    store = bootstrap.build_store(settings.load(os.environ))
    for row in store.read(subscribers.list_all):
        _print(row)
    return 0


def disable_subscriber(arguments: argparse.Namespace) -> int:
    """Refuse a subscriber's keys; what it is owed is still delivered."""
    store = bootstrap.build_store(settings.load(os.environ))
    clock = bootstrap.build_clock(store)
    store.write(subscribers.disable, arguments.subscriber, clock.now())
    return 0


def add_key(arguments: argparse.Namespace) -> int:
    """Print the new key as one JSON object."""
    store = bootstrap.build_store(settings.load(os.environ))
    clock = bootstrap.build_clock(store)
    made = store.write_once(subscribers.add_key, arguments.subscriber, clock.now(), bootstrap.id_maker(clock))
    _print({"id": made.id, "api_key": made.api_key})
    return 0


def revoke_key(arguments: argparse.Namespace) -> int:
    """Refuse a key from now on."""
    store = bootstrap.build_store(settings.load(os.environ))
    clock = bootstrap.build_clock(store)
    store.write(subscribers.revoke_key, arguments.key, clock.now())
    return 0


def rotate_secrets(_: argparse.Namespace) -> int:
    """Seal everything under the first key; 1 if something does not open, as then its key is still needed."""
    loaded = settings.load(os.environ)
    store, encryption = bootstrap.build_store(loaded), bootstrap.build_encryption(loaded)
    results = {kind.name: reencryption.reencrypt(store, encryption, kind) for kind in reencryption.KINDS}
    counts = ", ".join(f"{result.count} {name}" for name, result in results.items())
    sys.stdout.write(f"Sealed anew under the key with id {encryption.first}: {counts}.\n")
    unopened = dict.fromkeys(sentence for result in results.values() for sentence in result.unopened)
    for sentence in unopened:
        sys.stderr.write(f"{sentence}\n")
    if unopened:
        return 1
    if encryption.others:
        sys.stdout.write(
            f"Nothing is sealed under {', '.join(encryption.others)} any more. Leave only the first key in"
            " RELAY_MASTER_KEY, remove the key file beside a SQLite database, then restart every process.\n"
        )
    return 0


def listen(arguments: argparse.Namespace) -> int:
    """Receive webhooks until interrupted."""
    from relay.sandbox import receiver  # noqa: PLC0415 - as on top

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
    from relay.sandbox import listaijob  # noqa: PLC0415 - as on top

    listaijob.serve(arguments.host, arguments.port)
    return 0


def run_demo(_: argparse.Namespace) -> int:
    """What ./dev demo does."""
    from relay.sandbox import demo  # noqa: PLC0415 - as on top

    return demo.main()


def run_all(_: argparse.Namespace) -> int:
    """What ./dev run does."""
    from relay.sandbox import run  # noqa: PLC0415 - as on top

    return run.main()


def _print(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
