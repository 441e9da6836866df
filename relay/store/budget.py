"""The provider as the whole fleet sees it: one budget of calls (burst 1), and whether it answers."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, null, select, update

from relay.core.records import SECOND, Micros
from relay.store.engine import Tx, insert_if_absent, lock
from relay.store.tables import Upstream

SOURCE = "default"  # one provider account and region for now
ANSWERED_EVERY = 5 * SECOND  # so that settles do not queue for the budget's row


def lock_budget(tx: Tx) -> Micros:
    """Lock the budget, before any job; returns the earliest moment of the next call."""
    statement = lock(select(Upstream.next_call_at).where(Upstream.source == SOURCE))
    next_call_at = tx.scalar(statement)
    if next_call_at is None:
        insert_if_absent(tx, Upstream, [{"source": SOURCE, "next_call_at": 0, "failure_streak": 0}])
        next_call_at = tx.execute(statement).scalar_one()
    return next_call_at


def spend_call(tx: Tx, now: Micros, call_interval: Micros) -> None:
    """Take the next call, which is locked and free."""
    tx.execute(update(Upstream).where(Upstream.source == SOURCE).values(next_call_at=now + call_interval))


def take_call(tx: Tx, now: Micros, call_interval: Micros) -> Micros | None:
    """Take one call of the budget by itself; None if it was free, else when it will be."""
    next_call_at = lock_budget(tx)
    if next_call_at > now:
        return next_call_at
    spend_call(tx, now, call_interval)
    return None


def answered(tx: Tx, now: Micros) -> None:
    """The provider has answered: whatever was wrong is over. Written at most every few seconds."""
    stale = Upstream.answered_at.is_(None) | (Upstream.answered_at < now - ANSWERED_EVERY)
    tx.execute(
        update(Upstream)
        .where(Upstream.source == SOURCE, (Upstream.failure_streak > 0) | stale)
        .values(failure_streak=0, down_since=null(), error_code=null(), error_detail=null(), answered_at=now)
    )


def failed(tx: Tx, now: Micros, *, code: str, detail: str, hold: Callable[[int], Micros]) -> None:
    """The provider did not answer: the fleet's calls wait as long as `hold` says of the failures in a row."""
    row = tx.execute(
        lock(select(Upstream.failure_streak, Upstream.next_call_at).where(Upstream.source == SOURCE))
    ).one()
    streak = row.failure_streak + 1
    tx.execute(
        update(Upstream)
        .where(Upstream.source == SOURCE)
        .values(
            failure_streak=streak,
            down_since=func.coalesce(Upstream.down_since, now),
            error_code=code[:200],
            error_detail=detail[:500],
            next_call_at=max(row.next_call_at, now + hold(streak)),
        )
    )


def state(tx: Tx) -> Any:
    """The row that says how the provider is doing; None before the first poll."""
    return tx.execute(select(Upstream.__table__).where(Upstream.source == SOURCE)).one_or_none()
