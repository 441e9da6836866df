"""Transactions: run as a whole, and again after errors that a retry can mend.

A transaction is one function of a `Tx`, run by `Store.write` or `Store.read`, and again on a
deadlock, a serialization failure, a lock wait, a busy database, a lost connection. So such a
function must be safe to run again after a commit whose answer was lost: results are guarded by the
token of their claim, registrations by their unique keys.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay.common.errors import StoreUnavailable
from relay.db.dialects import Tx, connect, dialect_of
from relay.db.dialects.base import READ_ONLY, ErrorKind

__all__ = ["Store", "Tx"]

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """Runs transactions; raises StoreUnavailable after `retry_timeout` seconds of failures."""

    def __init__(self, database_url: str, *, pool_size: int = 5, retry_timeout: float = 10.0) -> None:
        self.engine = connect(database_url, pool_size=pool_size)
        self.dialect = dialect_of(self.engine)
        self._retry_timeout = retry_timeout
        self._writer_lock = self.dialect.writer_lock()

    def write(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a read-write transaction: commit if it returns, roll back if it raises."""
        return self._run(self._writing, work, *args, **kwargs)

    def write_once(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` as `write` does, but never again once its commit may have happened.

        For work whose second run nothing in the database prevents: its caller decides on a retry.
        Raises StoreUnavailable where the commit may have happened.
        """
        returned = False

        def once(tx: Tx) -> T:
            nonlocal returned
            if returned:
                raise StoreUnavailable("the database broke while it saved this; look whether it is there")
            result = work(tx, *args, **kwargs)
            returned = True
            return result

        return self._run(self._writing, once)

    def read(self, work: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one transaction that only reads; on SQLite it takes no write lock."""
        return self._run(self._reading, work, *args, **kwargs)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def _run(
        self,
        transaction: Callable[[], contextlib.AbstractContextManager[Tx]],
        work: Callable[Concatenate[Tx, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        give_up_at = time.monotonic() + self._retry_timeout
        pause = 0.005
        while True:
            try:
                with transaction() as tx:
                    return work(tx, *args, **kwargs)
            except (DBAPIError, PoolTimeout) as error:
                if self.dialect.error_kind(error) is ErrorKind.PERMANENT:
                    self.dialect.hide_values(error)
                    raise
                if time.monotonic() + pause > give_up_at:
                    raise StoreUnavailable(_sentence_of(error)) from error
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, guards nothing
            pause = min(pause * 2, 0.5)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Tx]:
        with self._writer_lock, self.engine.begin() as tx:
            yield tx

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Tx]:
        with self.engine.connect().execution_options(**{READ_ONLY: True}) as tx, tx.begin():
            yield tx


def _sentence_of(error: Exception) -> str:
    """A sentence about an unusable database, without statements, parameters or addresses."""
    origin = getattr(error, "orig", None)
    kind = type(origin or error).__name__
    return f"the database can't be used right now ({kind}); nothing was changed, try again"
