"""What subscribers read of their endpoints: settings, health and pace. See `pages`."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, or_, select

from relay.common.errors import NotFound, SettingsError
from relay.common.states import EndpointStatus
from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx
from relay.db.pagination import Document, Page, listed, page_rows, shown_time
from relay.db.statements import among
from relay.db.tables import Delivery, Endpoint
from relay.subscribers.encryption import Encryption

MASK = "•••"


def endpoint(tx: Tx, subscriber_id: str, endpoint_id: str, encryption: Encryption, now: Micros) -> Document:
    """One endpoint. Raises NotFound."""
    row = tx.execute(_endpoints_of(subscriber_id).where(Endpoint.id == endpoint_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such endpoint")
    return _shown(tx, [row], encryption, now)[0]


def endpoints(
    tx: Tx, subscriber_id: str, page: Page, encryption: Encryption, now: Micros, *, status: str | None = None
) -> Document:
    """A page of endpoints."""
    statement = _endpoints_of(subscriber_id)
    if status is not None:
        # Without an index of its own: a subscriber has at most a thousand, side by side in the
        # list's.
        statement = statement.where(Endpoint.status == status)
    rows = page_rows(tx, statement, Endpoint.id, page)
    return listed(_shown(tx, rows, encryption, now), page)


def _endpoints_of(subscriber_id: str) -> Select[*tuple[Any, ...]]:
    return select(Endpoint.__table__).where(
        Endpoint.subscriber_id == subscriber_id, Endpoint.deleted_at.is_(None)
    )


def _shown(tx: Tx, rows: Sequence[Any], encryption: Encryption, now: Micros) -> list[Document]:
    in_flight = _in_flight(tx, [row.id for row in rows], now)
    return [_endpoint(row, encryption, in_flight.get(row.id, 0)) for row in rows]


def _in_flight(tx: Tx, ids: Sequence[str], now: Micros) -> dict[str, int]:
    """Endpoint id → deliveries with a live lease, tests included."""
    lives = or_(Delivery.due_at > now, Delivery.solo_at > now)
    rows = tx.execute(
        select(Delivery.endpoint_id, func.count())
        .where(among(tx, Delivery.endpoint_id, ids), Delivery.token.is_not(None), lives)
        .group_by(Delivery.endpoint_id)
    )
    return {endpoint_id: int(count) for endpoint_id, count in rows}


def _endpoint(row: Any, encryption: Encryption, in_flight: int) -> Document:
    is_open = row.opened_at is not None
    is_probed = is_open and row.status == EndpointStatus.ACTIVE
    return {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "headers": _masked(row, encryption),
        "status": row.status,
        "disabled_reason": row.disabled_reason,
        "circuit": "open" if is_open else "closed",
        "failing_since": shown_time(row.failing_since),
        "next_probe_at": shown_time(row.open_until if is_probed else None),
        "last_error": row.last_error,
        "in_flight": in_flight,
        "max_in_flight": row.max_in_flight,
        "rate_per_second": row.rate_per_second,
        "notices": bool(row.notices),
        "created_at": rfc3339(row.created_at),
    }


def _masked(row: Any, encryption: Encryption) -> dict[str, str] | None:
    """The names of the custom headers; None where they do not open, which must not hide the endpoint."""
    try:
        headers = json.loads(encryption.open(row.id, row.headers_sealed)) if row.headers_sealed else {}
    except SettingsError:
        return None
    return dict.fromkeys(headers, MASK)
