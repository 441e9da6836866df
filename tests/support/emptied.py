"""A database that the tests of one module take turns with, each finding it empty: quicker than one each."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from relay.db.engine import Store, Tx
from relay.db.tables import Base
from tests.support.database import fresh_database


@contextlib.contextmanager
def private_store(database_url: str, folder: Path) -> Iterator[Store]:
    """A store of its own, of the same kind as this database."""
    with fresh_database(database_url.partition(":")[0], folder) as url:
        store = Store(url)
        yield store
        store.close()


def empty(store: Store) -> Store:
    """Delete every row."""

    def work(tx: Tx) -> None:
        for table in reversed(Base.metadata.sorted_tables):
            tx.execute(table.delete())

    store.write(work)
    return store
