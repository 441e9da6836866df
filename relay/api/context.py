"""The app context: what every handler of a request works with, built by bootstrap."""

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from relay.db.clock import Clock
from relay.db.engine import Store
from relay.settings import Settings
from relay.subscribers.encryption import Encryption

_EXTENSION = "relay"


@dataclass(frozen=True, slots=True)
class AppContext:
    """The settings, the database with its clock, the encryption of secrets."""

    settings: Settings
    store: Store
    clock: Clock
    encryption: Encryption


def install(app: Flask, context: AppContext) -> None:
    """Give an app its context."""
    app.extensions[_EXTENSION] = context


def context_of(app: Flask) -> AppContext:
    """The context that an app was given."""
    return cast("AppContext", app.extensions[_EXTENSION])


# The context of the app that serves the current request.
ctx = cast("AppContext", LocalProxy(lambda: context_of(current_app)))
