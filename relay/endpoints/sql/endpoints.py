"""Endpoints in SQL: finding or making them, their pace, and when each may send next."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Case, ScalarSelect, bindparam, case, func, null, select, update

from relay.common.errors import NotFound
from relay.common.ids import NewId
from relay.common.states import DisabledReason, EndpointStatus
from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import among, insert_if_absent, lock, update_rows
from relay.db.tables import Delivery, Endpoint
from relay.endpoints.rules.circuit_breaker import FIRST_CONCURRENCY_LIMIT, EndpointHealth

DEFAULT_IN_FLIGHT = 10
NOW = bindparam("now", type_=BigInteger)


def url_key(url: str) -> str:
    """The hash by which a URL is unique: databases can't index 2,048 characters everywhere."""
    return hashlib.sha256(url.encode()).hexdigest()


def new_row(
    endpoint_id: str,
    subscriber_id: str,
    url: str,
    now: Micros,
    *,
    description: str | None = None,
    headers_sealed: str | None = None,
    max_in_flight: int = DEFAULT_IN_FLIGHT,
    rate_per_second: float | None = None,
    notices: bool = False,
) -> dict[str, Any]:
    """A new endpoint, active and unproven."""
    return {
        "id": endpoint_id,
        "subscriber_id": subscriber_id,
        "url": url,
        "url_key": url_key(url),
        "description": description,
        "headers_sealed": headers_sealed,
        "status": EndpointStatus.ACTIVE,
        "max_in_flight": max_in_flight,
        "rate_per_second": rate_per_second,
        "not_before": 0,
        "notices": int(notices),
        "created_at": now,
        **columns_of(EndpointHealth(concurrency_limit=min(FIRST_CONCURRENCY_LIMIT, max_in_flight))),
    }


def find_by_urls(tx: Tx, subscriber_id: str, urls: Collection[str]) -> dict[str, str]:
    """URL → endpoint id, for those of the subscriber that exist."""
    keys = [url_key(url) for url in urls]
    rows = tx.execute(
        select(Endpoint.url, Endpoint.id).where(
            Endpoint.subscriber_id == subscriber_id, among(tx, Endpoint.url_key, keys)
        )
    )
    return {row.url: row.id for row in rows}


def find_or_make(
    tx: Tx, subscriber_id: str, urls: Iterable[str], now: Micros, new_id: NewId
) -> tuple[dict[str, str], int]:
    """URL → endpoint id, making what is missing; and how many were made."""
    wanted = sorted(set(urls))
    found = find_by_urls(tx, subscriber_id, wanted)
    missing = [url for url in wanted if url not in found]
    if missing:
        insert_if_absent(tx, Endpoint, [new_row(new_id("ep"), subscriber_id, url, now) for url in missing])
        found = find_by_urls(tx, subscriber_id, wanted)
    return found, len(missing)


def owned(tx: Tx, subscriber_id: str, ids: Collection[str]) -> set[str]:
    """Which of these ids are endpoints of this subscriber that are not deleted."""
    if not ids:
        return set()
    return set(
        tx.scalars(
            select(Endpoint.id).where(
                among(tx, Endpoint.id, sorted(ids)),
                Endpoint.subscriber_id == subscriber_id,
                Endpoint.deleted_at.is_(None),
            )
        )
    )


def count(tx: Tx, subscriber_id: str) -> int:
    """How many endpoints the subscriber has."""
    return tx.execute(
        select(func.count()).where(Endpoint.subscriber_id == subscriber_id, Endpoint.deleted_at.is_(None))
    ).scalar_one()


def lock_in_order(tx: Tx, ids: Iterable[str]) -> dict[str, Any]:
    """Lock endpoints, each by id (the second place in the order of locks); id → limits, state and pace."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    dialect = dialect_of(tx)
    rows = tx.execute(_lock_statement(dialect), {"ids": dialect.packed(wanted)})
    return {row.id: row for row in rows.all()}


@cache
def _lock_statement(dialect: Dialect) -> Any:
    columns = (
        Endpoint.id,
        Endpoint.status,
        Endpoint.max_in_flight,
        Endpoint.ready_at,
        Endpoint.deleted_at,
        *HEALTH_COLUMNS,
    )
    return lock(select(*columns).where(dialect.listed(Endpoint.id, "ids")).order_by(Endpoint.id))


def lock_own(tx: Tx, subscriber_id: str, endpoint_id: str) -> Any:
    """Lock an endpoint of this subscriber, as in `lock_in_order`, and return its row. Raises NotFound."""
    found = lock_in_order(tx, owned(tx, subscriber_id, [endpoint_id])).get(endpoint_id)
    if found is None or found.deleted_at is not None:
        raise NotFound("there is no such endpoint")
    return found


def activate(tx: Tx, ids: Iterable[str], now: Micros) -> None:
    """Something has become due at these endpoints now; they are locked already."""
    _set_ready(tx, _activate_statement, ids, now)


def recompute(tx: Tx, ids: Iterable[str], now: Micros) -> None:
    """Set `ready_at` from what is open: the earliest due row, or end of a lease, but not before now."""
    _set_ready(tx, _recompute_statement, ids, now)


def wait_for_a_slot(tx: Tx, ids: Iterable[str], first_end: Micros) -> None:
    """Have ready endpoints, whose slots are all taken, wait for a settle or for the first end of a lease."""
    wanted = sorted(ids)
    if wanted:
        dialect = dialect_of(tx)
        tx.execute(_wait_statement(dialect), {"ids": dialect.packed(wanted), "until": first_end})


def _set_ready(tx: Tx, statement: Callable[[Dialect], Any], ids: Iterable[str], now: Micros) -> None:
    wanted = sorted(set(ids))
    if wanted:
        dialect = dialect_of(tx)
        tx.execute(statement(dialect), {"ids": dialect.packed(wanted), "now": now})


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
    until = bindparam("until", type_=BigInteger)
    return update(Endpoint).where(dialect.listed(Endpoint.id, "ids")).values(ready_at=until)


def _first_due() -> ScalarSelect[Any]:
    """The first `due_at` of the endpoint's own rows, ends of leases included: one look into an index."""
    return (
        select(Delivery.due_at)
        .where(Delivery.endpoint_id == Endpoint.id, Delivery.due_at.is_not(None))
        .order_by(Delivery.due_at)
        .limit(1)
        .correlate(Endpoint)
        .scalar_subquery()
    )


def _floor() -> Case[Any]:
    """The first moment at which its rate and its circuit let an endpoint send, and not before now."""
    rate, circuit = Endpoint.not_before, Endpoint.open_until
    later = case((rate > circuit, rate), else_=circuit)
    return case((later > NOW, later), else_=NOW)


def _may_send() -> Any:
    return (Endpoint.status == EndpointStatus.ACTIVE) & Endpoint.deleted_at.is_(None)


HEALTH_COLUMNS = (
    Endpoint.concurrency_limit,
    Endpoint.warmed_up,
    Endpoint.failure_streak,
    Endpoint.failing_since,
    Endpoint.opened_at,
    Endpoint.blocked_since,
    Endpoint.open_until,
    Endpoint.probe_count,
    Endpoint.recovered_at,
)


def health_of(row: Any) -> EndpointHealth:
    """The pace of a row that `lock_in_order` returned."""
    return EndpointHealth(
        concurrency_limit=row.concurrency_limit,
        warmed_up=bool(row.warmed_up),
        failure_streak=row.failure_streak,
        failing_since=row.failing_since,
        opened_at=row.opened_at,
        blocked_since=row.blocked_since,
        open_until=row.open_until,
        probe_count=row.probe_count,
        recovered_at=row.recovered_at,
    )


def columns_of(health: EndpointHealth) -> dict[str, Any]:
    """The columns that hold a pace."""
    return {column.key: getattr(health, column.key) for column in HEALTH_COLUMNS} | {
        "warmed_up": int(health.warmed_up)
    }


def save_healths(tx: Tx, healths: Mapping[str, tuple[EndpointHealth, str | None]]) -> None:
    """Write what has changed: endpoint id → pace and last error in words (None keeps the last one)."""
    rows = [
        {f"new_{column}": value for column, value in columns_of(health).items()}
        | {"row": endpoint_id, "new_error": error}
        for endpoint_id, (health, error) in sorted(healths.items())
    ]
    update_rows(tx, _SAVE, rows)


_SAVE = (
    update(Endpoint)
    .where(Endpoint.id == bindparam("row"))
    .values({column.key: bindparam(f"new_{column.key}") for column in HEALTH_COLUMNS})
    .values(
        last_error=func.coalesce(bindparam("new_error", type_=Endpoint.last_error.type), Endpoint.last_error)
    )
)


def disable(tx: Tx, endpoint_id: str, reason: DisabledReason, now: Micros) -> None:
    """Give up an endpoint, which is locked: what it is owed is held, and its owner is to be told."""
    tx.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint_id)
        .values(
            status=EndpointStatus.DISABLED,
            disabled_reason=reason,
            ready_at=null(),
            held_at=func.coalesce(Endpoint.held_at, now),
            notice_at=now,
        )
    )
