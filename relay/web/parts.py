"""What the web works with, built by wiring and found again through Flask's current app."""

import os
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from relay.core.ids import RANDOM_BYTES, new_id
from relay.settings import Settings
from relay.store.clock import Clock
from relay.store.engine import Store
from relay.store.vault import Vault

_EXTENSION = "relay"


@dataclass(frozen=True, slots=True)
class Parts:
    """The settings, the database with its clock, the vault of secrets, and the relay's version."""

    settings: Settings
    store: Store
    clock: Clock
    vault: Vault
    version: str

    def mint(self, prefix: str) -> str:
        """Make an id of now."""
        return new_id(prefix, self.clock.now(), os.urandom(RANDOM_BYTES))


def install(app: Flask, parts: Parts) -> None:
    """Give an app its parts."""
    app.extensions[_EXTENSION] = parts


def current() -> Parts:
    """The parts of the app that serves this request."""
    return cast("Parts", current_app.extensions[_EXTENSION])
