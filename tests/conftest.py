"""Fixtures that every test may use; the databases behind `store` are in support_database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.core.ids import Mint
from relay.store.clock import Clock
from relay.store.engine import Store
from relay.store.vault import Vault
from tests.support_database import KINDS, fresh_database, minting


@pytest.fixture(scope="session", params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database of each kind, shared by the tests of one worker: use subscribers of your own."""
    folder: Path = tmp_path_factory.mktemp("database")
    with fresh_database(request.param, folder) as url:
        yield url


@pytest.fixture(scope="session")
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def own_database_url(database_url: str, tmp_path: Path) -> Iterator[str]:
    """A migrated database that no other test uses, of the same kind as `database_url`."""
    kind = database_url.partition(":")[0]
    with fresh_database(kind, tmp_path) as url:
        yield url


@pytest.fixture
def own_store(own_database_url: str) -> Iterator[Store]:
    store = Store(own_database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def clock(store: Store) -> Clock:
    return Clock(store)


@pytest.fixture(scope="session")
def mint(clock: Clock) -> Mint:
    return minting(clock.now)


@pytest.fixture(scope="session")
def vault() -> Vault:
    return Vault([b"k" * 32])
