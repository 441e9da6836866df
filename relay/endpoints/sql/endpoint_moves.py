"""How an endpoint moves from state to state: the one place that sets these columns.

    state     status    ready_at       held_at  disabled_reason  notice_at       deleted_at  url_key
    active    active    when it may    —        —                —               —           set
                        send, or —
    paused    paused    —              when     —                —               —           set
    disabled  disabled  —              when     gone | failing   until notified  —           set
    deleted   disabled  —              when     as it was        —               when        —

`ready_at` is — while nothing is pending. It is never later than the first moment at which the
endpoint could send: its earliest due delivery or end of a lease, its rate (`not_before`) and its
circuit (`open_until`). Whoever moves an endpoint holds its lock.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Case, ScalarSelect, bindparam, case, func, null, select, update

from relay.common.states import DisabledReason, EndpointStatus
from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.tables import Delivery, Endpoint

MOMENT = bindparam("moment", type_=BigInteger)


def pause(tx: Tx, endpoint_id: str, now: Micros) -> None:
    """Hold what is pending; what is in flight finishes."""
    _move(tx, endpoint_id, status=EndpointStatus.PAUSED, ready_at=null(), held_at=now)


def resume(tx: Tx, endpoint_id: str, circuit: Mapping[str, Any]) -> None:
    """Make it active again with these columns of its circuit; `recompute` says when it may send."""
    held = {"held_at": null(), "disabled_reason": null(), "notice_at": null()}
    _move(tx, endpoint_id, status=EndpointStatus.ACTIVE, **held, **circuit)


def disable(tx: Tx, endpoint_id: str, reason: DisabledReason, now: Micros) -> None:
    """Hold what is pending, and have the subscriber notified."""
    _move(
        tx,
        endpoint_id,
        status=EndpointStatus.DISABLED,
        disabled_reason=reason,
        ready_at=null(),
        held_at=func.coalesce(Endpoint.held_at, now),
        notice_at=now,
    )


def note_notified(tx: Tx, endpoint_id: str) -> None:
    """The subscriber has been notified that it was disabled."""
    _move(tx, endpoint_id, notice_at=null())


def delete(tx: Tx, endpoint_id: str, now: Micros) -> None:
    """Free its URL; its history stays."""
    _move(
        tx,
        endpoint_id,
        status=EndpointStatus.DISABLED,
        ready_at=null(),
        held_at=func.coalesce(Endpoint.held_at, now),
        notice_at=null(),
        deleted_at=now,
        url_key=null(),
    )


def _move(tx: Tx, endpoint_id: str, **columns: Any) -> None:
    tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(**columns))


def activate(tx: Tx, ids: Iterable[str], now: Micros) -> None:
    """A delivery has become due now at these endpoints."""
    _set_ready(tx, _activate_statement, ids, now)


def recompute(tx: Tx, ids: Iterable[str], now: Micros) -> None:
    """Set `ready_at` from what is open: the earliest due row or end of a lease, at least now."""
    _set_ready(tx, _recompute_statement, ids, now)


def wait_for_a_slot(tx: Tx, ids: Iterable[str], first_end: Micros) -> None:
    """Have endpoints without a free slot wait for a result or for the first end of a lease."""
    _set_ready(tx, _wait_statement, ids, first_end)


def _set_ready(tx: Tx, statement: Callable[[Dialect], Any], ids: Iterable[str], moment_us: Micros) -> None:
    in_order = sorted(set(ids))
    if in_order:
        dialect = dialect_of(tx)
        tx.execute(statement(dialect), {"ids": dialect.packed(in_order), "moment": moment_us})


@cache
def _activate_statement(dialect: Dialect) -> Any:
    later = Endpoint.ready_at.is_(None) | (Endpoint.ready_at > _floor())
    return (
        update(Endpoint)
        .where(dialect.listed(Endpoint.id, "ids"), _may_send())
        .values(ready_at=case((later, _floor()), else_=Endpoint.ready_at))
    )


@cache
def _recompute_statement(dialect: Dialect) -> Any:
    due = _first_due()
    ready_at = case((due < _floor(), _floor()), else_=due)
    return (
        update(Endpoint)
        .where(dialect.listed(Endpoint.id, "ids"))
        .values(ready_at=case((_may_send(), ready_at), else_=null()))
    )


@cache
def _wait_statement(dialect: Dialect) -> Any:
    return update(Endpoint).where(dialect.listed(Endpoint.id, "ids")).values(ready_at=MOMENT)


def _first_due() -> ScalarSelect[Any]:
    """The first `due_at` of the endpoint's rows, ends of leases included: an index lookup."""
    return (
        select(Delivery.due_at)
        .where(Delivery.endpoint_id == Endpoint.id, Delivery.due_at.is_not(None))
        .order_by(Delivery.due_at)
        .limit(1)
        .correlate(Endpoint)
        .scalar_subquery()
    )


def _floor() -> Case[Any]:
    """The first moment from now on at which its rate and its circuit let an endpoint send."""
    rate, circuit = Endpoint.not_before, Endpoint.open_until
    later = case((rate > circuit, rate), else_=circuit)
    return case((later > MOMENT, later), else_=MOMENT)


def _may_send() -> Any:
    return (Endpoint.status == EndpointStatus.ACTIVE) & Endpoint.deleted_at.is_(None)
