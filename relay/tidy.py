"""Housekeeping: watches expire at their deadline, what was deleted is cleared up, old records are pruned.

It runs beside the poller on a thread and connection of its own, in any number: every step locks what it
changes and looks again.
"""

import time
from dataclasses import dataclass

from relay import telemetry
from relay.core.ids import Mint
from relay.core.records import SECOND, Micros
from relay.core.states import WatchStatus
from relay.store import jobs, prune, watches
from relay.store.clock import Clock
from relay.store.engine import Store, Tx

LOOK_EVERY = 0.25  # seconds: a watch expires within its second
EXPIRE_BATCH = 100  # watches of one transaction
PRUNE_EVERY = 60.0  # seconds


@dataclass(slots=True)
class Tidier:
    """Expires and prunes; `retention` is how long (microseconds) finished records are kept."""

    store: Store
    clock: Clock
    retention: Micros
    mint: Mint
    _prune_at: float = 0.0

    def turn(self) -> float:
        """Do what is due; returns the seconds until the next look."""
        expired = self._expire()
        if expired:
            telemetry.watches_expired(expired)
        if time.monotonic() >= self._prune_at:
            self._prune()
        return 0.0 if expired == EXPIRE_BATCH else self._until_next()

    def _expire(self) -> int:
        now = self.clock.now()
        overdue = self.store.read(watches.overdue, now, EXPIRE_BATCH)
        return self.store.write(expire, overdue, now, self.mint) if overdue else 0

    def _prune(self) -> None:
        """Delete batch by batch, so that nobody waits for a long transaction; more next time."""
        counts = self.store.write(prune.batch, self.clock.now() - self.retention)
        if any(counts.values()):
            telemetry.pruned(counts)
        else:
            self._prune_at = time.monotonic() + PRUNE_EVERY

    def _until_next(self) -> float:
        if self._prune_at == 0.0 or time.monotonic() >= self._prune_at:
            return 0.0
        deadline = self.store.read(watches.next_deadline)
        if deadline is None:
            return LOOK_EVERY
        return min(max((deadline - self.clock.now()) / SECOND, 0.0), LOOK_EVERY)


def expire(tx: Tx, overdue: list[tuple[str, int]], now: Micros, mint: Mint) -> int:
    """End these watches (id, job) as expired if they still wait; returns how many did."""
    keys = {job for _, job in overdue}
    jobs.lock_in_order(tx, keys)
    rows = watches.still_waiting(tx, [watch_id for watch_id, _ in overdue])
    watches.end(tx, rows, WatchStatus.EXPIRED, now, mint)
    jobs.rest(tx, keys)
    return len(rows)
