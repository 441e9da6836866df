"""Endpoints as their subscriber creates, changes, pauses and resumes them."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, null, update
from sqlalchemy.exc import IntegrityError

from relay.common.errors import Conflict
from relay.common.ids import NewId
from relay.common.states import EndpointStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import insert_if_absent
from relay.db.tables import Endpoint
from relay.endpoints.rules.circuit_breaker import FIRST_CONCURRENCY_LIMIT, CircuitBreaker
from relay.endpoints.sql import endpoint_moves, endpoints
from relay.endpoints.sql.endpoint_health import columns_of
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets

TAKEN = "you have an endpoint with this URL already; change that one, or delete it first"


def create(
    tx: Tx,
    subscriber_id: str,
    settings: Mapping[str, Any],
    encryption: Encryption,
    now: Micros,
    new_id: NewId,
) -> tuple[str, str]:
    """Create an endpoint with a secret of its own; returns its id and the secret.

    `settings` holds `url` (without a query) and any of `description`, `headers` (name → value),
    `max_in_flight`, `rate_per_second`, `notices`.

    Raises:
        Conflict: the subscriber has an endpoint with this URL.
    """
    endpoint_id = new_id("ep")
    row = endpoints.new_row(
        endpoint_id, subscriber_id, now=now, **_columns(settings, endpoint_id, encryption)
    )
    insert_if_absent(tx, Endpoint, [row])
    if not endpoints.owned(tx, subscriber_id, [endpoint_id]):
        raise Conflict(TAKEN)
    return endpoint_id, secrets.create(tx, subscriber_id, endpoint_id, encryption, now, new_id)


def change(
    tx: Tx,
    subscriber_id: str,
    endpoint_id: str,
    settings: Mapping[str, Any],
    encryption: Encryption,
    now: Micros,
) -> None:
    """Change what `settings` holds, as in `create`; it counts from the next attempt.

    Raises:
        NotFound: the endpoint is not the subscriber's.
        Conflict: another endpoint of the subscriber has this URL.
    """
    endpoints.lock_own(tx, subscriber_id, endpoint_id)
    values = _columns(settings, endpoint_id, encryption)
    if "max_in_flight" in values:
        most = values["max_in_flight"]
        values["concurrency_limit"] = case(
            (Endpoint.concurrency_limit > most, most), else_=Endpoint.concurrency_limit
        )
    if "rate_per_second" in values:
        values["not_before"] = 0
    url = values.pop("url", None)
    if url is not None:
        _move(tx, endpoint_id, url)
    if values:
        _set(tx, endpoint_id, **values)
    endpoint_moves.recompute(tx, [endpoint_id], now)


def pause(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> None:
    """Hold what comes for an endpoint; what is in flight finishes. A disabled one stays disabled.

    Raises NotFound.
    """
    row = endpoints.lock_own(tx, subscriber_id, endpoint_id)
    if row.status == EndpointStatus.ACTIVE:
        endpoint_moves.pause(tx, endpoint_id, now)


def resume(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> None:
    """Send what was held, oldest first, within the endpoint's limits, and enable what was disabled.

    It starts slowly, with a closed circuit, and with nothing remembered of how long it was blocked:
    whoever resumes says that it is mended. Raises NotFound.
    """
    row = endpoints.lock_own(tx, subscriber_id, endpoint_id)
    if row.status == EndpointStatus.ACTIVE and row.opened_at is None:
        if row.blocked_since is not None:  # it flaps, and is closed just now
            _set(tx, endpoint_id, blocked_since=null())
        return
    closed = CircuitBreaker(min(FIRST_CONCURRENCY_LIMIT, row.max_in_flight), recovered_at=now)
    endpoint_moves.resume(tx, endpoint_id, columns_of(closed))
    endpoint_moves.recompute(tx, [endpoint_id], now)


def _set(tx: Tx, endpoint_id: str, **columns: Any) -> None:
    tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(**columns))


def _columns(settings: Mapping[str, Any], endpoint_id: str, encryption: Encryption) -> dict[str, Any]:
    """The settings as columns; custom headers are encrypted for the endpoint's row."""
    values = {name: value for name, value in settings.items() if name != "headers"}
    if "notices" in values:
        values["notices"] = int(values["notices"])
    if "headers" in settings:
        headers = settings["headers"]
        values["headers_sealed"] = encryption.encrypt(endpoint_id, json.dumps(headers)) if headers else None
    return values


def _move(tx: Tx, endpoint_id: str, url: str) -> None:
    """Give the endpoint another URL; one that differs has not answered yet and starts slowly.

    So an open circuit closes: whoever names another URL says that this one works.
    """
    try:
        tx.execute(
            update(Endpoint)
            .where(Endpoint.id == endpoint_id, Endpoint.url != url)
            .values(url=url, url_key=endpoints.url_key(url), last_error=null())
            .values(columns_of(CircuitBreaker()))
        )
    except IntegrityError:
        raise Conflict(TAKEN) from None
