"""Endpoints as their subscribers read them: every query is bound to one subscriber."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, or_, select

from relay.common.errors import NotFound
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.pagination import Page, page_rows
from relay.db.statements import among
from relay.db.tables import Delivery, Endpoint


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint, and how many of its attempts are in flight."""

    row: Any
    in_flight: int

    @property
    def id(self) -> str:
        """The endpoint's id, by which pages go."""
        return str(self.row.id)


def endpoint(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> EndpointView:
    """One endpoint. Raises NotFound."""
    rows = tx.execute(_endpoints_of(subscriber_id).where(Endpoint.id == endpoint_id)).all()
    if not rows:
        raise NotFound("there is no such endpoint")
    return _views(tx, rows, now)[0]


def endpoints(
    tx: Tx, subscriber_id: str, page: Page, now: Micros, *, status: str | None = None
) -> list[EndpointView]:
    """A page of endpoints."""
    statement = _endpoints_of(subscriber_id)
    if status is not None:
        # Without an index of its own: a subscriber has at most a thousand, side by side in the
        # list's.
        statement = statement.where(Endpoint.status == status)
    return _views(tx, page_rows(tx, statement, Endpoint.id, page), now)


def _endpoints_of(subscriber_id: str) -> Select[*tuple[Any, ...]]:
    return select(Endpoint.__table__).where(
        Endpoint.subscriber_id == subscriber_id, Endpoint.deleted_at.is_(None)
    )


def _views(tx: Tx, rows: Sequence[Any], now: Micros) -> list[EndpointView]:
    in_flight = _in_flight(tx, [row.id for row in rows], now)
    return [EndpointView(row, in_flight.get(row.id, 0)) for row in rows]


def _in_flight(tx: Tx, ids: Sequence[str], now: Micros) -> dict[str, int]:
    """Endpoint id → deliveries with a live lease, tests included."""
    lives = or_(Delivery.due_at > now, Delivery.solo_at > now)
    rows = tx.execute(
        select(Delivery.endpoint_id, func.count())
        .where(among(tx, Delivery.endpoint_id, ids), Delivery.token.is_not(None), lives)
        .group_by(Delivery.endpoint_id)
    )
    return {endpoint_id: int(count) for endpoint_id, count in rows}
