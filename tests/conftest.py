"""Fixtures that every test may use; the databases behind `store` are in support_database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from relay.common.ids import NewId
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.subscribers.encryption import Encryption
from tests.support.database import KINDS, empty, fresh_database, id_maker
from tests.support.sender_client import MakeSenderClient, OneByOne, Route, server_context


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


@pytest.fixture(scope="session")
def emptied_database_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The database behind `own_database_url`: made once for a worker, as making one takes a second."""
    with fresh_database(database_url.partition(":")[0], tmp_path_factory.mktemp("own")) as url:
        yield url


@pytest.fixture
def own_database_url(emptied_database_url: str) -> str:
    """A migrated database without a row, of the same kind as `database_url`, that no other test uses now."""
    empty(emptied_database_url)
    return emptied_database_url


@pytest.fixture
def own_store(own_database_url: str) -> Iterator[Store]:
    store = Store(own_database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def clock(store: Store) -> Clock:
    return Clock(store)


@pytest.fixture(scope="session")
def new_id(clock: Clock) -> NewId:
    return id_maker(clock.now)


@pytest.fixture(scope="session")
def encryption() -> Encryption:
    return Encryption([b"k" * 32])


@pytest.fixture
def make_sender_client() -> Iterator[MakeSenderClient]:
    make = MakeSenderClient()
    yield make
    make.stop()


@pytest.fixture
def sender_client(make_sender_client: MakeSenderClient) -> OneByOne:
    return make_sender_client()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that signs receivers' certificates; sender clients trust it where they are told to."""
    return trustme.CA()


@pytest.fixture
def trusting(make_sender_client: MakeSenderClient, authority: trustme.CA, tmp_path: Path) -> OneByOne:
    """A sender client that trusts the tests' authority."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return make_sender_client(ca_file=path)


@pytest.fixture(params=["http", "tls"])
def route(request: pytest.FixtureRequest, trusting: OneByOne, authority: trustme.CA) -> Route:
    """Plain HTTP, and TLS: for what is to mean the same over both."""
    if request.param == "http":
        return Route(trusting)
    return Route(trusting, server_context(authority.issue_cert("127.0.0.1")))
