"""Fixtures of the API's tests: the app behind a socket, and subscribers who call it."""

from collections.abc import Iterator

import pytest

from relay.common.ids import NewId
from relay.db.engine import Store
from relay.subscribers.encryption import Encryption
from tests.support.api import Caller, context_for_tests, new_caller, serving
from tests.support.care import Care, caring


@pytest.fixture(scope="session")
def port(store: Store, encryption: Encryption) -> Iterator[int]:
    with serving(context_for_tests(store, encryption)) as port:
        yield port


@pytest.fixture
def caller(port: int, store: Store, encryption: Encryption, new_id: NewId) -> Caller:
    """A subscriber of its own."""
    return new_caller(port, store, encryption, new_id)


@pytest.fixture
def other(port: int, store: Store, encryption: Encryption, new_id: NewId) -> Caller:
    """Another subscriber."""
    return new_caller(port, store, encryption, new_id)


@pytest.fixture(scope="session")
def emptied_port(emptied_store: Store, encryption: Encryption) -> Iterator[int]:
    with serving(context_for_tests(emptied_store, encryption)) as port:
        yield port


@pytest.fixture
def care(emptied_port: int, own_store: Store, encryption: Encryption) -> Care:
    """A subscriber whose API works on a database without any other row."""
    return caring(emptied_port, own_store, encryption)
