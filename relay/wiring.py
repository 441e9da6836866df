"""Builds the parts from the settings: the only place that knows them all."""

import os
import random
import secrets
from pathlib import Path

from flask import Flask

from relay import __version__, telemetry
from relay.core.errors import SettingsError
from relay.core.ids import RANDOM_BYTES, Mint, new_id
from relay.core.records import SECOND
from relay.deliver import DeliverRules, Dispatcher
from relay.net import credentials
from relay.net.courier import Courier
from relay.net.listaijob import ListAIJob
from relay.poll import Poller, PollRules
from relay.settings import Settings
from relay.store.clock import Clock
from relay.store.engine import Store
from relay.store.keyring import Keyring
from relay.store.vault import Vault, key_beside
from relay.tidy import Tidier
from relay.web import Parts, create_app

WEB_PATIENCE = 5.0  # seconds a caller waits for a busy database before a 503
WORKER_PATIENCE = 10.0  # seconds a stage tries one transaction again before its turn ends
DAY = 86_400 * SECOND


def build_store(settings: Settings, *, patience: float = WORKER_PATIENCE) -> Store:
    """The database of the settings."""
    return Store(settings.database_url.get_secret_value(), patience=patience)


def build_clock(store: Store) -> Clock:
    """The database's clock, which warns when the machine's is far from it."""
    return Clock(store, telemetry.clock_disagrees)


def build_vault(settings: Settings) -> Vault:
    """The key ring; with SQLite and none given, the key that lies beside the database, made if need be."""
    keys = list(settings.master_keys.keys)
    if not keys:
        path = sqlite_path(settings)
        if path is None:
            raise SettingsError(["RELAY_MASTER_KEY: must be set when the database is shared"])
        key, made = key_beside(path)
        if made is not None:
            telemetry.master_key_made(made)
        keys = [key]
    return Vault(keys)


def sqlite_path(settings: Settings) -> Path | None:
    """The file of a SQLite database; None for a server."""
    scheme, _, path = settings.database_url.get_secret_value().partition(":///")
    return Path(path) if scheme == "sqlite" else None


def minting(clock: Clock) -> Mint:
    """Makes ids from the database's clock and the system's randomness."""
    return lambda prefix: new_id(prefix, clock.now(), os.urandom(RANDOM_BYTES))


def new_token() -> str:
    """The token of one claim."""
    return secrets.token_hex(16)


def build_web(settings: Settings) -> Flask:
    """The HTTP API."""
    store = build_store(settings, patience=WEB_PATIENCE)
    return create_app(
        Parts(
            settings=settings,
            store=store,
            clock=build_clock(store),
            vault=build_vault(settings),
            version=__version__,
        )
    )


def build_provider(settings: Settings) -> ListAIJob:
    """The client of ListAIJob; raises SettingsError when no credentials are set."""
    if settings.access_key_id is None or settings.access_key_secret is None:
        raise SettingsError(
            ["ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET: must be set to poll the provider"]
        )
    token = settings.security_token
    return ListAIJob(
        settings.upstream_url,
        credentials.static(
            settings.access_key_id.get_secret_value(),
            settings.access_key_secret.get_secret_value(),
            token.get_secret_value() if token else None,
        ),
        signature=settings.upstream_signature,
    )


def build_poller(settings: Settings, store: Store, clock: Clock) -> Poller:
    """The stage that asks the provider."""
    rules = PollRules(
        lease=round(settings.lease_seconds * SECOND),
        call_interval=round(SECOND / settings.upstream_rate),
        missing_grace=round(settings.missing_grace * SECOND),
        mint=minting(clock),
        new_token=new_token,
        dice=random.random,
    )
    return Poller(store, clock, build_provider(settings).ask, rules)


def build_tidier(settings: Settings, store: Store, clock: Clock) -> Tidier:
    """Housekeeping."""
    return Tidier(store, clock, round(settings.retention_days * DAY), minting(clock))


def build_dispatcher(settings: Settings, store: Store, clock: Clock) -> Dispatcher:
    """The stage that sends."""
    courier = Courier(
        allow=settings.callback_allow,
        ca_file=settings.callback_ca_file,
        dns_servers=settings.dns_servers,
        max_in_flight=settings.max_in_flight,
    )
    rules = DeliverRules(
        lease=round(settings.lease_seconds * SECOND),
        attempt_seconds=settings.attempt_timeout,
        retry_seconds=settings.retry_schedule,
        max_in_flight=settings.max_in_flight,
        user_agent=f"relay/{__version__}",
        mint=minting(clock),
        new_token=new_token,
        dice=random.random,
    )
    return Dispatcher(store, clock, courier, Keyring(store, build_vault(settings)), rules)
