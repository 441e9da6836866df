"""Subscribers, their API keys, and the encryption of their secrets."""

import argparse
import json
import os
import sys

from relay import bootstrap, settings
from relay.cli.parsers import Commands, add_command
from relay.subscribers.sql import reencryption, subscribers


def add_to(commands: Commands) -> None:
    """Add `subscriber`, `key` and `secrets`."""
    group = _group(commands, "subscriber", "the services that may call the API", "add|list|disable")
    purpose = "make one; prints its id, API key and secret, the key this once only"
    add_command(group, "add", add_subscriber, purpose).add_argument("name")
    add_command(group, "list", list_subscribers, "all of them")
    disabling = add_command(group, "disable", disable_subscriber, "refuse its keys from now on")
    disabling.add_argument("subscriber", help="its id or name")

    group = _group(commands, "key", "the API keys of a subscriber", "add|revoke")
    adding = add_command(group, "add", add_key, "make another key; it is shown this once only")
    adding.add_argument("subscriber", help="its id or name")
    revoking = add_command(group, "revoke", revoke_key, "refuse a key from now on")
    revoking.add_argument("key", help="the key's id")

    group = _group(commands, "secrets", "the secrets that the database holds encrypted", "rotate")
    purpose = "re-encrypt them all under the first key of RELAY_MASTER_KEY; nothing has to stop for it"
    add_command(group, "rotate", rotate_secrets, purpose)


def _group(commands: Commands, name: str, purpose: str, metavar: str) -> Commands:
    return commands.add_parser(name, help=purpose).add_subparsers(required=True, metavar=metavar)


def add_subscriber(arguments: argparse.Namespace) -> int:
    """Print the new subscriber as one JSON object."""
    base = _base()
    encryption, clock = bootstrap.build_encryption(base.settings), base.clock
    added = base.store.write_once(subscribers.add, arguments.name, encryption, clock.now(), clock.new_id)
    _print({"id": added.id, "api_key": added.api_key, "secret": added.secret})
    return 0


def list_subscribers(_: argparse.Namespace) -> int:
    """Print each subscriber as one JSON object a line."""
    for row in _base().store.read(subscribers.list_all):
        _print(row)
    return 0


def disable_subscriber(arguments: argparse.Namespace) -> int:
    """Refuse a subscriber's keys; its pending deliveries are still sent."""
    base = _base()
    base.store.write(subscribers.disable, arguments.subscriber, base.clock.now())
    return 0


def add_key(arguments: argparse.Namespace) -> int:
    """Print the new key as one JSON object."""
    base = _base()
    now, new_id = base.clock.now(), base.clock.new_id
    added = base.store.write_once(subscribers.add_key, arguments.subscriber, now, new_id)
    _print({"id": added.id, "api_key": added.api_key})
    return 0


def revoke_key(arguments: argparse.Namespace) -> int:
    """Refuse a key from now on."""
    base = _base()
    base.store.write(subscribers.revoke_key, arguments.key, base.clock.now())
    return 0


def rotate_secrets(_: argparse.Namespace) -> int:
    """Encrypt everything under the first key; 1 if something needs a key that is not there."""
    base = _base()
    encryption = bootstrap.build_encryption(base.settings)
    results = {kind.name: reencryption.reencrypt(base.store, encryption, kind) for kind in reencryption.KINDS}
    counts = ", ".join(f"{result.count} {name}" for name, result in results.items())
    sys.stdout.write(f"Re-encrypted under the key with id {encryption.first}: {counts}.\n")
    problems = dict.fromkeys(sentence for result in results.values() for sentence in result.problems)
    for sentence in problems:
        sys.stderr.write(f"{sentence}\n")
    if encryption.others and not problems:
        sys.stdout.write(
            f"Nothing is encrypted under {', '.join(encryption.others)} any more. Leave only the first key in"
            " RELAY_MASTER_KEY, remove the key file beside a SQLite database, then restart every process.\n"
        )
    return 1 if problems else 0


def _base() -> bootstrap.Base:
    return bootstrap.build_base(settings.load(os.environ))


def _print(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
