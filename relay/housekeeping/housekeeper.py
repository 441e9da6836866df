"""Housekeeping: everything that happens because time has passed, not because an answer came.

Watches expire at their deadline, subscribers are notified of disabled endpoints, bulk retries are
worked on, deliveries that waited too long fail, old records are pruned. It runs beside the poller
on a thread and connection of its own, in any number: every step locks what it changes and reads it
again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from relay import telemetry
from relay.common.errors import StoreUnavailable
from relay.common.events import WATCH_EXPIRED
from relay.common.ids import NewId
from relay.common.states import WatchStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db import counters
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.deliveries.rules.retry_policy import RetryPolicy
from relay.deliveries.sql import bulk_retries, overdue_deliveries
from relay.deliveries.sql.overdue_deliveries import Limit
from relay.housekeeping.sql import notices, prune
from relay.jobs.sql import jobs, moves
from relay.telemetry import metrics
from relay.telemetry.events import IterationFailed, OverdueFailed, Pruned, SentAgain, WatchesExpired
from relay.watches.sql import watches
from relay.watches.sql.watches import Ending

CHECK_EVERY = 0.25  # seconds: a watch expires within its second
CHORES_EVERY = 1.0  # seconds: notices, bulk retries
OVERDUE_EVERY = 60.0  # seconds: deliveries that waited too long, old records
EXPIRE_BATCH = 100  # watches of one transaction


@dataclass(slots=True)
class Housekeeper:
    """Does each chore when it is due; finished records are kept for `retention`."""

    store: Store
    clock: Clock
    retention: Micros
    policy: RetryPolicy
    new_id: NewId
    _chores_at: float = 0.0
    _overdue_at: float = 0.0

    def run_once(self) -> float:
        """Do what is due; returns the seconds until the next check."""
        expired = _each("expire", CHECK_EVERY, self._expire)
        if expired == EXPIRE_BATCH:
            return 0.0
        if time.monotonic() >= self._chores_at:
            busy = _each("notices", CHORES_EVERY, self._notify_of_disabled)
            busy += _each("send again", CHORES_EVERY, self._send_again)
            self._chores_at = time.monotonic() + (0.0 if busy else CHORES_EVERY)
        if time.monotonic() >= self._overdue_at:
            self._overdue_at = time.monotonic() + OVERDUE_EVERY  # also where the database ends this one
            busy = _each("overdue", OVERDUE_EVERY, self._fail_overdue)
            busy += _each("prune", OVERDUE_EVERY, self._prune)
            if busy:
                self._overdue_at = 0.0
        return self._until_next()

    def _expire(self) -> int:
        now = self.clock.now()
        overdue = self.store.read(watches.overdue, now, EXPIRE_BATCH)
        if not overdue:
            return 0
        expired = self.store.write(expire, overdue, now, self.new_id)
        if expired:
            telemetry.emit(WatchesExpired(expired))
        return expired

    def _notify_of_disabled(self) -> int:
        pending = self.store.read(notices.pending)
        return _each(
            "notices", CHORES_EVERY, *(partial(self._notify, endpoint_id) for endpoint_id in pending)
        )

    def _notify(self, endpoint_id: str) -> int:
        self.store.write(notices.enqueue, endpoint_id, self.clock.now(), self.new_id)
        return 1

    def _send_again(self) -> int:
        """Work on bulk retries until there is none, or another process is at it."""
        if not self.store.read(bulk_retries.is_due):
            return 0
        retried = self.store.write(bulk_retries.work, self.clock.now())
        if retried:
            telemetry.emit(SentAgain(retried))
        return int(retried is not None)

    def _fail_overdue(self) -> int:
        """Fail deliveries that waited for too long, and cancel those of deleted endpoints.

        Returns how many endpoints have more of them; if none has, the next time is soon enough.
        """
        now = self.clock.now()
        unfinished = self._fail(overdue_deliveries.held_limit(self.policy.held_before(now)))
        unfinished += self._fail(overdue_deliveries.blocked_limit(self.policy.blocked_before(now)))
        for endpoint_id in self.store.read(overdue_deliveries.deleted_endpoints):
            cancel = overdue_deliveries.cancel_deleted
            unfinished += bool(self.store.write(cancel, endpoint_id, now, self.new_id))
        return unfinished

    def _fail(self, limit: Limit) -> int:
        """Fail a batch at each endpoint over the limit; how many of them have more."""
        over = self.store.read(overdue_deliveries.endpoints_over, limit)
        return _each(
            "overdue", OVERDUE_EVERY, *(partial(self._fail_at, endpoint_id, limit) for endpoint_id in over)
        )

    def _fail_at(self, endpoint_id: str, limit: Limit) -> int:
        found = self.store.read(overdue_deliveries.overdue, endpoint_id, limit, self.clock.now())
        if found:
            now = self.clock.now()
            failed = self.store.write(
                overdue_deliveries.fail_overdue, endpoint_id, found, limit, now, self.new_id
            )
            if failed:
                telemetry.emit(OverdueFailed(failed, limit.reason))
        return int(len(found) >= overdue_deliveries.BATCH)

    def _prune(self) -> int:
        """Delete a batch, so that nobody waits for a long transaction."""
        counts = self.store.write(prune.batch, self.clock.now(), self.retention)
        if any(counts.values()):
            telemetry.emit(Pruned({table: count for table, count in counts.items() if count}))
        return sum(counts.values())

    def _until_next(self) -> float:
        if time.monotonic() >= min(self._chores_at, self._overdue_at):
            return 0.0
        deadline = self.store.read(watches.next_deadline)
        seconds = CHECK_EVERY if deadline is None else (deadline - self.clock.now()) / US_PER_SECOND
        return (
            min(seconds, CHECK_EVERY) if seconds > 0 else CHECK_EVERY
        )  # what is overdue still is what failed


def _each(stage: str, retry_in: float, *chores: Callable[[], int]) -> int:
    """Do these chores, whatever one raises; how much was done. A database that is gone ends all.

    `retry_in` is when one that failed is due again, in seconds.
    """
    done = 0
    for chore in chores:
        try:
            done += chore()
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one row that our code fails on must not stop the others
            telemetry.emit(IterationFailed(stage, error, retry_in))
    return done


def expire(tx: Tx, overdue: list[tuple[str, int]], now: Micros, new_id: NewId) -> int:
    """End these watches (id, job) as expired if they still wait; returns how many did."""
    keys = {job for _, job in overdue}
    jobs.lock_in_order(tx, keys)
    rows = watches.still_waiting(tx, [watch_id for watch_id, _ in overdue])
    watches.end(tx, [Ending(rows, WatchStatus.EXPIRED, WATCH_EXPIRED.name)], now, new_id)
    moves.suspend(tx, keys)
    return len(rows)


def flush_totals(store: Store) -> None:
    """Add what this process has counted to the fleet's totals; kept where that fails."""
    totals = metrics.drain_totals()
    if not totals:
        return
    try:
        store.write_once(counters.add_totals, totals)
    except StoreUnavailable:
        metrics.restore_totals(totals)
    except Exception:
        metrics.restore_totals(totals)
        raise
