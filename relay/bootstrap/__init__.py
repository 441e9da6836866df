"""Builds the parts of each process from the settings: the only place that knows them all.

`bootstrap.web` builds what only the web needs: without Flask a poller or dispatcher takes less
memory.
"""

import random
import secrets
from dataclasses import dataclass

from relay import __version__, telemetry
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.dialects import database_file
from relay.db.engine import Store
from relay.deliveries import DeliveryConfig, Dispatcher
from relay.deliveries.rules.retry_policy import RetryPolicy
from relay.deliveries.signing_keys import Keyring
from relay.housekeeping.housekeeper import Housekeeper
from relay.polling.poller import Poller, PollerConfig
from relay.provider.registry import SOURCES
from relay.provider.source import JobSource
from relay.sending.rules.outbound import SenderOptions
from relay.sending.sender_client import SenderClient
from relay.settings import Settings
from relay.subscribers.encryption import Encryption, kept_key, key_beside
from relay.telemetry.events import ClockDisagrees, MasterKeyMade

WORKER_RETRY_TIMEOUT = 10.0  # seconds a worker tries one transaction again before its iteration ends
DAY = 86_400 * US_PER_SECOND


@dataclass(frozen=True, slots=True)
class Base:
    """What every process and command works with."""

    settings: Settings
    store: Store
    clock: Clock


def build_base(settings: Settings, *, retry_timeout: float = WORKER_RETRY_TIMEOUT) -> Base:
    """Connect to the database; its clock warns when the machine's is far from it."""
    store = Store(settings.database_url.get_secret_value(), retry_timeout=retry_timeout)
    return Base(settings, store, Clock(store, lambda seconds: telemetry.emit(ClockDisagrees(seconds))))


def build_encryption(settings: Settings) -> Encryption:
    """The keys of RELAY_MASTER_KEY; with SQLite, the key that lies beside the database comes last.

    So whoever moves from that file to the variable can still open everything, and encrypt it anew.
    """
    keys = list(settings.master_keys.get_secret_value())
    file = database_file(settings.database_url.get_secret_value())
    if file is not None and keys:
        keys += filter(None, [kept_key(file)])
    elif file is not None:
        key, created = key_beside(file)
        keys.append(key)
        if created is not None:
            telemetry.emit(MasterKeyMade(str(created)))
    return Encryption(keys)


def new_token() -> str:
    """The token of one claim."""
    return secrets.token_hex(16)


def build_pollers(base: Base) -> list[Poller]:
    """The workers that ask: a poller for each source of jobs."""
    return [_build_poller(base, source) for source in SOURCES.values()]


def _build_poller(base: Base, source: JobSource) -> Poller:
    settings, store, clock = base.settings, base.store, base.clock
    config = PollerConfig(
        lease=round(settings.lease_seconds * US_PER_SECOND),
        call_interval=round(US_PER_SECOND / source.calls_per_second(settings)),
        missing_grace=round(settings.missing_grace * US_PER_SECOND),
        new_id=clock.new_id,
        new_token=new_token,
        jitter=random.random,
    )
    return Poller(store, clock, source, source.connect(settings), config)


def build_housekeeper(base: Base) -> Housekeeper:
    """The worker that expires, prunes and notifies."""
    policy = build_retry_policy(base.settings)
    return Housekeeper(base.store, base.clock, _retention(base.settings), policy, base.clock.new_id)


def build_retry_policy(settings: Settings) -> RetryPolicy:
    """What becomes of deliveries; they are held at most as long as records are kept."""
    return RetryPolicy(settings.retry_schedule, longest_hold=_retention(settings))


def _retention(settings: Settings) -> Micros:
    return round(settings.retention_days * DAY)


def build_dispatcher(base: Base) -> Dispatcher:
    """The worker that delivers."""
    settings, store, clock = base.settings, base.store, base.clock
    options = SenderOptions(
        schemes=settings.callback_schemes,
        allow=settings.callback_allow,
        ca_file=settings.callback_ca_file,
        dns_servers=settings.dns_servers,
        max_connections=settings.max_connections,
    )
    config = DeliveryConfig(
        lease=round(settings.lease_seconds * US_PER_SECOND),
        attempt_seconds=settings.attempt_timeout,
        policy=build_retry_policy(settings),
        max_in_flight=settings.max_in_flight,
        user_agent=f"relay/{__version__}",
        new_id=clock.new_id,
        new_ids=clock.new_ids,
        new_token=new_token,
        rng=random.random,
    )
    keyring = Keyring(store, build_encryption(settings))
    return Dispatcher(store, clock, lambda: SenderClient(options), keyring, config)
