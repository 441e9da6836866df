"""Endpoints in SQL: finding, making and locking them."""

import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from sqlalchemy import func, select

from relay.common.errors import NotFound
from relay.common.ids import NewId
from relay.common.states import EndpointStatus
from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import among, insert_if_absent, lock
from relay.db.tables import Endpoint
from relay.endpoints.rules.circuit_breaker import FIRST_CONCURRENCY_LIMIT, CircuitBreaker
from relay.endpoints.rules.endpoint_update import EndpointLimits
from relay.endpoints.sql.endpoint_health import CIRCUIT_COLUMNS, LIMIT_COLUMNS, columns_of


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
    notices: bool = False,
    **limits: Any,
) -> dict[str, Any]:
    """A new endpoint, active and cold; `limits` are some of `EndpointLimits`."""
    allowed = EndpointLimits(**limits)
    return {
        "id": endpoint_id,
        "subscriber_id": subscriber_id,
        "url": url,
        "url_key": url_key(url),
        "description": description,
        "headers_sealed": headers_sealed,
        "status": EndpointStatus.ACTIVE,
        "not_before": 0,
        "notices": int(notices),
        "created_at": now,
        **allowed._asdict(),
        **columns_of(CircuitBreaker(min(FIRST_CONCURRENCY_LIMIT, allowed.max_in_flight))),
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
    """URL → endpoint id, making those that are missing; and how many were made."""
    in_order = sorted(set(urls))
    found = find_by_urls(tx, subscriber_id, in_order)
    missing = [url for url in in_order if url not in found]
    if missing:
        insert_if_absent(tx, Endpoint, [new_row(new_id("ep"), subscriber_id, url, now) for url in missing])
        found = find_by_urls(tx, subscriber_id, in_order)
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
    """Lock endpoints by id (the second place in the order of locks); id → limits and state."""
    in_order = sorted(set(ids))
    if not in_order:
        return {}
    dialect = dialect_of(tx)
    rows = tx.execute(_lock_statement(dialect), {"ids": dialect.packed(in_order)})
    return {row.id: row for row in rows.all()}


@cache
def _lock_statement(dialect: Dialect) -> Any:
    columns = (
        Endpoint.id,
        Endpoint.status,
        Endpoint.ready_at,
        Endpoint.deleted_at,
        *LIMIT_COLUMNS,
        *CIRCUIT_COLUMNS,
    )
    return lock(select(*columns).where(dialect.listed(Endpoint.id, "ids")).order_by(Endpoint.id))


def lock_own(tx: Tx, subscriber_id: str, endpoint_id: str) -> Any:
    """Lock an endpoint of this subscriber and return its row. Raises NotFound."""
    found = lock_in_order(tx, owned(tx, subscriber_id, [endpoint_id])).get(endpoint_id)
    if found is None or found.deleted_at is not None:
        raise NotFound("there is no such endpoint")
    return found
