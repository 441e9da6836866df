"""Endpoints as their subscriber makes, changes, pauses, resumes and deletes them."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, func, null, select, update
from sqlalchemy.exc import IntegrityError

from relay.core.errors import Conflict
from relay.core.ids import Mint
from relay.core.pace import FIRST_ALLOWANCE, Pace
from relay.core.records import Micros
from relay.core.states import EndpointStatus, WatchStatus
from relay.store import deliveries, endpoints, jobs, secrets
from relay.store.engine import Tx
from relay.store.statements import among, insert_if_absent
from relay.store.tables import Endpoint, Watch
from relay.store.vault import Vault

CHUNK = 500  # jobs of one statement: few enough parameters for every database
TAKEN = "you have an endpoint with this URL already; change that one, or delete it first"


def create(
    tx: Tx, subscriber_id: str, wanted: Mapping[str, Any], vault: Vault, now: Micros, mint: Mint
) -> tuple[str, str]:
    """Make an endpoint with a secret of its own; returns its id and the secret.

    `wanted` holds `url` (without a query) and any of `description`, `headers` (name → value),
    `max_in_flight`, `rate_per_second`, `notices`.

    Raises:
        Conflict: the subscriber has an endpoint with this URL.
    """
    endpoint_id = mint("ep")
    row = endpoints.new_row(endpoint_id, subscriber_id, now=now, **_columns(wanted, endpoint_id, vault))
    insert_if_absent(tx, Endpoint, [row])
    if not endpoints.owned(tx, subscriber_id, [endpoint_id]):
        raise Conflict(TAKEN)
    return endpoint_id, secrets.create(tx, subscriber_id, endpoint_id, vault, now, mint)


def change(
    tx: Tx, subscriber_id: str, endpoint_id: str, wanted: Mapping[str, Any], vault: Vault, now: Micros
) -> None:
    """Change what `wanted` holds, as in `create`; it counts from the next attempt.

    Raises:
        NotFound: the endpoint is not the subscriber's.
        Conflict: another endpoint of the subscriber has this URL.
    """
    endpoints.lock_own(tx, subscriber_id, endpoint_id)
    values = _columns(wanted, endpoint_id, vault)
    if "max_in_flight" in values:
        most = values["max_in_flight"]
        values["allowance"] = case((Endpoint.allowance > most, most), else_=Endpoint.allowance)
    if "rate_per_second" in values:
        values["not_before"] = 0
    url = values.pop("url", None)
    if url is not None:
        _move(tx, endpoint_id, url)
    if values:
        tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(values))
    endpoints.look_again(tx, [endpoint_id], now)


def pause(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> None:
    """Hold what comes for an endpoint; what is in flight finishes. A disabled one stays disabled.

    Raises NotFound.
    """
    row = endpoints.lock_own(tx, subscriber_id, endpoint_id)
    if row.status == EndpointStatus.ACTIVE:
        tx.execute(
            update(Endpoint)
            .where(Endpoint.id == endpoint_id)
            .values(status=EndpointStatus.PAUSED, ready_at=null(), held_at=now)
        )


def resume(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> None:
    """Let go what was held, oldest first, at the endpoint's own pace, and enable what was disabled.

    It starts slowly, with a closed circuit, and with nothing remembered of how long it was blocked: whoever
    resumes says that it is mended. Raises NotFound.
    """
    row = endpoints.lock_own(tx, subscriber_id, endpoint_id)
    if row.status == EndpointStatus.ACTIVE and row.opened_at is None:
        if row.blocked_since is not None:  # it flaps, and is closed just now
            tx.execute(update(Endpoint).where(Endpoint.id == endpoint_id).values(blocked_since=null()))
        return
    pace = Pace(allowance=min(FIRST_ALLOWANCE, row.max_in_flight), recovered_at=now)
    tx.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint_id)
        .values(status=EndpointStatus.ACTIVE, disabled_reason=null(), held_at=null(), notice_at=null())
        .values(endpoints.columns_of(pace))
    )
    endpoints.look_again(tx, [endpoint_id], now)


def delete(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> None:
    """Delete an endpoint: its watches that wait and what it is still owed are cancelled, history stays.

    What is in flight finishes and is then not sent again. Of a long backlog the first part is cancelled here,
    the rest by the tidier, and all of it reads as cancelled. A watch that is being registered at this very
    moment is cancelled when its job ends.

    Raises:
        NotFound: the endpoint is not the subscriber's.
    """
    waiting = (Watch.endpoint_id == endpoint_id) & Watch.due_at.is_not(None)
    mine = waiting & (Watch.subscriber_id == subscriber_id)
    keys = sorted(set(tx.scalars(select(Watch.job).where(mine))))
    chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    for chunk in chunks:
        jobs.lock_in_order(tx, chunk)
    endpoints.lock_own(tx, subscriber_id, endpoint_id)
    for chunk in chunks:
        tx.execute(
            update(Watch)
            .where(waiting, among(tx, Watch.job, chunk))
            .values(status=WatchStatus.CANCELLED, due_at=null(), waiting_key=null(), finished_at=now)
        )
        jobs.rest(tx, chunk)
    deliveries.cancel_of_endpoint(tx, endpoint_id, now)
    deliveries.cancel_tests(tx, endpoint_id, now)
    tx.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint_id)
        .values(
            deleted_at=now,
            url_key=null(),
            ready_at=null(),
            status=EndpointStatus.DISABLED,
            held_at=func.coalesce(Endpoint.held_at, now),
            notice_at=null(),
        )
    )


def _columns(wanted: Mapping[str, Any], endpoint_id: str, vault: Vault) -> dict[str, Any]:
    """What was asked for, as columns; custom headers are sealed for the endpoint's row."""
    values = {name: value for name, value in wanted.items() if name != "headers"}
    if "notices" in values:
        values["notices"] = int(values["notices"])
    if "headers" in wanted:
        headers = wanted["headers"]
        values["headers_sealed"] = vault.seal(endpoint_id, json.dumps(headers)) if headers else None
    return values


def _move(tx: Tx, endpoint_id: str, url: str) -> None:
    """Give the endpoint another URL; one that differs has proven nothing yet and starts slowly.

    So an open circuit closes: whoever names another URL says that this one works.
    """
    try:
        tx.execute(
            update(Endpoint)
            .where(Endpoint.id == endpoint_id, Endpoint.url != url)
            .values(url=url, url_key=endpoints.url_key(url), last_error=null())
            .values(endpoints.columns_of(Pace()))
        )
    except IntegrityError:
        raise Conflict(TAKEN) from None
