"""The rate limiter of a source for the whole fleet (burst 1), and whether the source answers.

Throttling halves the rate at once, and every few seconds with answers raise it a little (additive
increase, multiplicative decrease). After a failure calls go one by one, each a probe, until one is
answered.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, case, func, null, select, update

from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.db.statements import insert_if_absent, lock
from relay.db.tables import Upstream

ANSWERED_EVERY = 5 * US_PER_SECOND  # so that results do not queue for the limiter's row
RATE_STEP = 0.05  # of the rate, given back each time: from half to whole takes 50 s
LEAST_RATE = 1 / 32  # of the rate: a call every few seconds finds out when throttling is over
PROBE_LASTS = 15 * US_PER_SECOND  # beyond any call's time-out: the fleet waits for its end, not for ever
# A late call shortens the next interval by up to this part of it, or all lateness of pollers would
# be lost to the rate. In no second are there more than rate + 1 calls all the same.
MADE_UP = 4

_LOCKED = lock(
    select(
        Upstream.next_call_at,
        Upstream.rate_factor,
        Upstream.last_owner,
        Upstream.failure_streak,
        Upstream.failed_at,
        Upstream.slowed_at,
        Upstream.down_since,
        Upstream.answered_at,
    ).where(Upstream.source == bindparam("source"))
)


def lock_rate_limiter(tx: Tx, source: str) -> Any:
    """Lock the limiter's row, before any job: it holds the time of the next call and the rate."""
    row = tx.execute(_LOCKED, {"source": source}).one_or_none()
    if row is None:
        fresh = {"rate_factor": 1.0, "last_owner": "", "next_call_at": 0, "slowed_at": 0, "failed_at": 0}
        insert_if_absent(tx, Upstream, [fresh | {"source": source, "failure_streak": 0}])
        row = tx.execute(_LOCKED, {"source": source}).one()
    return row


def spend_call(
    tx: Tx, source: str, row: Any, now: Micros, call_interval: Micros, last_owner: str = ""
) -> Micros:
    """Take the next call, which is locked and free; returns when the one after it may be made.

    `last_owner` is the owner who got its last place, empty where there was a place for all.
    """
    interval = round(call_interval / row.rate_factor)
    next_call_at: Micros = max(row.next_call_at, now - interval // MADE_UP) + interval
    if row.failure_streak:
        next_call_at = now + PROBE_LASTS
    tx.execute(
        update(Upstream)
        .where(Upstream.source == source)
        .values(next_call_at=next_call_at, last_owner=last_owner or row.last_owner)
    )
    return next_call_at


def take_call(tx: Tx, source: str, now: Micros, call_interval: Micros) -> Micros | None:
    """Take one more call for what is claimed already; None if it was free, else when it will be.

    While the fleet waits for a probe's end, it is the probe that asks, and it need not wait for
    itself.
    """
    row = lock_rate_limiter(tx, source)
    if row.failure_streak:
        return None
    if row.next_call_at > now:
        return int(row.next_call_at)
    spend_call(tx, source, row, now, call_interval)
    return None


def wants_news(row: Any, now: Micros) -> bool:
    """Whether the next answer has to be noted with `answered`."""
    return row.down_since is not None or (row.answered_at or 0) < now - ANSWERED_EVERY


def answered(tx: Tx, source: str, now: Micros) -> None:
    """Note that the source answers again or still; written at most every few seconds."""
    stale = Upstream.answered_at.is_(None) | (Upstream.answered_at < now - ANSWERED_EVERY)
    slowed = (Upstream.rate_factor < 1) & (Upstream.slowed_at < now - ANSWERED_EVERY) & stale
    raised = case((Upstream.rate_factor < 1 - RATE_STEP, Upstream.rate_factor + RATE_STEP), else_=1.0)
    probe_ends = case(
        ((Upstream.failure_streak > 0) & (Upstream.next_call_at > now), now), else_=Upstream.next_call_at
    )
    tx.execute(
        update(Upstream)
        .where(Upstream.source == source, Upstream.down_since.is_not(None) | stale)
        .ordered_values(  # MySQL reads what it has just set: the columns that are read come first
            (Upstream.next_call_at, probe_ends),
            (Upstream.rate_factor, case((slowed, raised), else_=Upstream.rate_factor)),
            (Upstream.failure_streak, 0),
            (Upstream.down_since, null()),
            (Upstream.error_code, null()),
            (Upstream.error_detail, null()),
            (Upstream.answered_at, now),
        )
    )


def throttled(
    tx: Tx, source: str, now: Micros, *, asked_at: Micros, code: str, detail: str, wait: Micros
) -> None:
    """Halve the fleet's rate, and make no call for `wait`, as the source wants fewer calls.

    A call that was made before the rate was last halved does not halve it again.
    """
    row = lock_rate_limiter(tx, source)
    factor = max(row.rate_factor / 2, LEAST_RATE) if asked_at > row.slowed_at else row.rate_factor
    tx.execute(
        update(Upstream)
        .where(Upstream.source == source)
        .values(
            rate_factor=factor,
            slowed_at=now,
            next_call_at=max(row.next_call_at, now + wait),
            down_since=func.coalesce(Upstream.down_since, now),
            error_code=code[:200],
            error_detail=detail[:500],
        )
    )


def failed(
    tx: Tx,
    source: str,
    now: Micros,
    *,
    asked_at: Micros,
    code: str,
    detail: str,
    hold: Callable[[int], Micros],
) -> None:
    """Make no call for as long as `hold` says of the failures in a row, as no answer came.

    Calls that were under way when the last failure was noted belong to it: they lengthen no run.
    """
    row = lock_rate_limiter(tx, source)
    is_new = row.failure_streak == 0 or asked_at > row.failed_at
    streak = row.failure_streak + is_new
    held_until = now + hold(streak)
    tx.execute(
        update(Upstream)
        .where(Upstream.source == source)
        .values(
            failure_streak=streak,
            failed_at=now if is_new else row.failed_at,
            down_since=func.coalesce(Upstream.down_since, now),
            error_code=code[:200],
            error_detail=detail[:500],
            # A probe that has failed is over: what was kept free for it is not waited for.
            next_call_at=held_until if is_new and row.failure_streak else max(row.next_call_at, held_until),
        )
    )


def not_asked(tx: Tx, source: str, now: Micros, *, code: str, detail: str) -> None:
    """Show until an answer comes that a poller can't ask the source; the others go on."""
    lock_rate_limiter(tx, source)
    down_since = func.coalesce(Upstream.down_since, now)
    tx.execute(
        update(Upstream)
        .where(Upstream.source == source)
        .values(down_since=down_since, error_code=code[:200], error_detail=detail[:500])
    )


def state(tx: Tx, source: str) -> Any:
    """The row that says how the source is doing; None before the first poll."""
    return tx.execute(select(Upstream.__table__).where(Upstream.source == source)).one_or_none()
