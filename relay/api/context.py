"""What the web works with, built by wiring and found again through Flask's current app."""

import os
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from relay.common.ids import RANDOM_BYTES, make_id
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.settings import Settings
from relay.subscribers.encryption import Encryption

_EXTENSION = "relay"


@dataclass(frozen=True, slots=True)
class AppContext:
    """The settings, the database with its clock, the vault of secrets, and the relay's version."""

    settings: Settings
    store: Store
    clock: Clock
    encryption: Encryption
    version: str

    def new_id(self, prefix: str) -> str:
        """Make an id of now."""
        return make_id(prefix, self.clock.now(), os.urandom(RANDOM_BYTES))


def install(app: Flask, context: AppContext) -> None:
    """Give an app its parts."""
    app.extensions[_EXTENSION] = context


def current() -> AppContext:
    """The parts of the app that serves this request."""
    return cast("AppContext", current_app.extensions[_EXTENSION])
