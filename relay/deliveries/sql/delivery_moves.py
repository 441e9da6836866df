"""How a delivery moves from state to state: the one place that sets these columns.

    state      status     due_at        token  finished_at  besides
    due        pending    when it is    —      —
    in flight  pending    end of lease  set    —            attempt_count + 1, lost_count if lost
    due again  pending    when it is    —      —            lost_count 0, retry_count as decided
    delivered  delivered  —             —      when         delivered_at, last_error —
    failed     failed     —             —      when         last_error
    cancelled  cancelled  —             —      when
    sent anew  pending    when it is    —      —            a fresh schedule, counts of retries 0

A test has its time in `solo_at` instead of `due_at`. Whoever moves a delivery holds its endpoint's
lock; tests, which are claimed whatever their endpoint's state is, are locked one by one. What is
cancelled while it is in flight is marked by `cancel_requested`, and cancelled when its attempt has
ended.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, bindparam, case, null, update

from relay.common.states import DeliveryStatus
from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import update_rows
from relay.db.tables import Delivery
from relay.deliveries.rules.attempts import RecordedResult
from relay.deliveries.rules.retry_policy import Decision
from relay.deliveries.sql.attempt_records import error_text


def due(now: Micros) -> dict[str, Any]:
    """The columns of a new delivery, due now."""
    return {"status": DeliveryStatus.PENDING, "due_at": now, "schedule_started_at": now}


def due_test(now: Micros) -> dict[str, Any]:
    """The columns of a new test, due now."""
    return due(now) | {"due_at": None, "solo_at": now}


def due_now(now: Micros) -> dict[str, Any]:
    """The columns of a pending delivery that is brought forward by hand: its schedule goes on."""
    return {"due_at": now, "cancel_requested": 0}


def sent_anew(due_at: Micros, now: Micros) -> dict[str, Any]:
    """The columns of a delivery that had ended and is sent again: a fresh schedule."""
    return {
        "status": DeliveryStatus.PENDING,
        "due_at": due_at,
        "schedule_started_at": now,
        "retry_count": 0,
        "lost_count": 0,
        "cancel_requested": 0,
        "finished_at": None,
    }


def ended(status: Any, now: Any) -> dict[str, Any]:
    """The columns of a delivery that has ended; `status` and `now` may be expressions."""
    return {"status": status, "due_at": null(), "solo_at": null(), "token": null(), "finished_at": now}


def lease(tx: Tx, ids: Sequence[str], until: Micros, token: str, due_column: str) -> None:
    """Put these deliveries in flight: they are the holder's of `token` until the lease ends."""
    if ids:
        dialect = dialect_of(tx)
        parameters = {"ids": dialect.packed(sorted(ids)), "until": until, "holder": token}
        tx.execute(_lease_statement(dialect, due_column), parameters)


@cache
def _lease_statement(dialect: Dialect, due_column: str) -> Any:
    """In this order, as MySQL reads what an UPDATE has just set, and the old token counts."""
    lost_count = case((Delivery.token.is_not(None), Delivery.lost_count + 1), else_=Delivery.lost_count)
    return (
        update(Delivery)
        .where(dialect.listed(Delivery.id, "ids"))
        .ordered_values(
            (Delivery.lost_count, lost_count),
            (Delivery.attempt_count, Delivery.attempt_count + 1),
            (getattr(Delivery, due_column), bindparam("until")),
            (Delivery.token, bindparam("holder")),
        )
    )


def release(tx: Tx, delivery_id: str, token: str, now: Micros) -> None:
    """Make a claimed delivery due again as if it had not been claimed; a cancelled one ends."""
    claimed = update(Delivery).where(Delivery.id == delivery_id, Delivery.token == token)
    uncounted = {"attempt_count": Delivery.attempt_count - 1}
    tx.execute(
        claimed.where(Delivery.cancel_requested == 1).values(ended(DeliveryStatus.CANCELLED, now) | uncounted)
    )
    due_again = {
        column.key: case((column.is_not(None), now), else_=null())
        for column in (Delivery.due_at, Delivery.solo_at)
    }
    tx.execute(claimed.values(due_again | {"token": null()} | uncounted))


def cancel(tx: Tx, pending: Any, now: Micros) -> None:
    """Cancel the pending deliveries that meet a condition; what is in flight is marked."""
    request_cancel(tx, pending)
    free = Delivery.token.is_(None)
    tx.execute(update(Delivery).where(pending, free).values(ended(DeliveryStatus.CANCELLED, now)))


def request_cancel(tx: Tx, pending: Any) -> None:
    """Mark what is in flight, of the pending deliveries that meet a condition."""
    in_flight = Delivery.token.is_not(None) & (Delivery.cancel_requested == 0)
    tx.execute(update(Delivery).where(pending, in_flight).values(cancel_requested=1))


def store_decisions(tx: Tx, recorded: Sequence[RecordedResult], now: Micros) -> None:
    """Move deliveries, whose attempts have ended, as the retry policy has decided."""
    delivered: list[str] = []
    others: list[dict[str, Any]] = []
    for result, decision in recorded:
        if decision is None:
            continue
        if decision.status is DeliveryStatus.DELIVERED:
            delivered.append(result.attempt.delivery_id)
        else:
            others.append(_parameters(result.attempt.delivery_id, decision, error_text(result.reply), now))
    if delivered:
        dialect = dialect_of(tx)
        ids = dialect.packed(sorted(delivered))
        tx.execute(_delivered_statement(dialect), {"ids": ids, "ended": now})
    update_rows(tx, _DECIDED, sorted(others, key=lambda row: str(row["row"])))


_ENDED = bindparam("ended", type_=BigInteger)


@cache
def _delivered_statement(dialect: Dialect) -> Any:
    return (
        update(Delivery)
        .where(dialect.listed(Delivery.id, "ids"))
        .values(ended(DeliveryStatus.DELIVERED.value, _ENDED))
        .values(lost_count=0, delivered_at=_ENDED, last_error=null())
    )


_DECIDED = (
    update(Delivery)
    .where(Delivery.id == bindparam("row"))
    .values(ended(bindparam("new_status"), _ENDED))
    .values(
        due_at=bindparam("new_due"),
        lost_count=0,
        retry_count=Delivery.retry_count + bindparam("retries_used"),
        last_error=bindparam("error"),
    )
)


def _parameters(delivery_id: str, decision: Decision, error: str | None, now: Micros) -> dict[str, Any]:
    return {
        "row": delivery_id,
        "new_status": decision.status,
        "new_due": decision.next_attempt_at,
        "retries_used": decision.retries_used,
        "ended": None if decision.status is DeliveryStatus.PENDING else now,
        "error": error if decision.reason is None else f"{decision.reason} ({error})"[:500],
    }
