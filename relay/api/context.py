"""The app context: what every handler of a request works with, built by bootstrap."""

import os
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from relay.common.ids import RANDOM_BYTES, make_id
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.settings import Settings
from relay.subscribers.encryption import Encryption

_EXTENSION = "relay"


@dataclass(frozen=True, slots=True)
class AppContext:
    """The settings, the database with its clock, the encryption of secrets, the relay's version."""

    settings: Settings
    store: Store
    clock: Clock
    encryption: Encryption
    version: str

    def new_id(self, prefix: str) -> str:
        """Make an id of now."""
        return make_id(prefix, self.clock.now(), os.urandom(RANDOM_BYTES))


def install(app: Flask, context: AppContext) -> None:
    """Give an app its context."""
    app.extensions[_EXTENSION] = context


def context_of(app: Flask) -> AppContext:
    """The context that an app was given."""
    return cast("AppContext", app.extensions[_EXTENSION])


# The context of the app that serves the current request.
ctx = cast("AppContext", LocalProxy(lambda: context_of(current_app)))
