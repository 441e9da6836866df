"""Fixtures that every test may use, and which tests run first."""

import subprocess
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

import pytest
import trustme

from relay.common.ids import NewId
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.subscribers.encryption import Encryption
from tests.support.database import KINDS, Databases, empty, id_maker
from tests.support.flow import World
from tests.support.lock_order import watching
from tests.support.provider import Provider, running_provider
from tests.support.sender_client import MakeSenderClient, OneByOne, Route, server_context

PROCESSES = "processes"
STARTS = (subprocess.Popen, "__init__"), (BaseProcess, "start")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that start processes by a fixture; others are marked by hand."""
    if "_processes" in getattr(item, "fixturenames", ()):
        item.add_marker(PROCESSES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that start processes: they take longest and must not come last."""
    items.sort(key=lambda item: item.get_closest_marker(PROCESSES) is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail an unmarked test that starts a process: `./dev test --fast` would run it."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker(PROCESSES) is None:
            for owner, name in STARTS:
                patch.setattr(owner, name, _refuse_to_start)
        yield


def _refuse_to_start(*_arguments: object, **_options: object) -> NoReturn:
    pytest.fail("a test that starts a process needs pytest.mark.processes or a fixture with `_processes`")


@pytest.fixture(scope="session")
def _processes() -> None:
    """For fixtures that start processes: marks the tests that use them."""


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    databases = Databases(tmp_path_factory.mktemp("databases"))
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def lock_faults() -> Iterator[list[str]]:
    """Each lock that was taken out of order, of every transaction in this process."""
    with watching() as faults:
        yield faults


@pytest.fixture
def unordered_locks(lock_faults: list[str]) -> Iterator[None]:
    """For tests that write rows by hand, as nobody else uses their database meanwhile."""
    yield
    lock_faults.clear()


@pytest.fixture(autouse=True)
def _locks_are_taken_in_order(lock_faults: list[str]) -> Iterator[None]:
    yield
    found = lock_faults.copy()
    lock_faults.clear()
    assert not found, "\n".join(found)


@pytest.fixture(scope="session", params=KINDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A migrated database of each kind, shared by one worker's tests: make your own subscribers."""
    return databases.url(request.param, "shared")


@pytest.fixture(scope="session")
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def emptied_database_url(database_url: str, databases: Databases) -> str:
    """The database behind `own_store` and `own_database_url`."""
    return databases.url(database_url.partition(":")[0], "emptied")


@pytest.fixture(scope="session")
def emptied_store(emptied_database_url: str) -> Iterator[Store]:
    """The store behind `own_store`, for fixtures that outlive a test."""
    store = Store(emptied_database_url)
    yield store
    store.close()


@pytest.fixture
def own_store(emptied_store: Store) -> Store:
    """The store of an empty database of the same kind as `store`, for one test alone."""
    return empty(emptied_store)


@pytest.fixture
def own_database_url(own_store: Store, emptied_database_url: str) -> str:
    """The database of `own_store`."""
    own_store.close()  # no connection of ours is there while processes have the database to themselves
    return emptied_database_url


@pytest.fixture
def world(own_store: Store) -> World:
    """A small world, alone in its database."""
    return World(own_store)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The local ListAIJob."""
    with running_provider() as running:
        yield running


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
def make_sender_client(_processes: None) -> Iterator[MakeSenderClient]:
    make = MakeSenderClient()
    yield make
    make.stop()


@pytest.fixture
def sender_client(make_sender_client: MakeSenderClient) -> OneByOne:
    return make_sender_client()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that signs receivers' certificates, for sender clients to trust."""
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
