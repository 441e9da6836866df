"""Selects the rows that a claim takes: fair between subscribers, within each endpoint's limits.

The endpoint is the unit of sending. A claim locks some endpoints that are ready and takes a few due
rows of each, so a backlog of any length behind a blocked endpoint costs the others nothing. A row
is in flight while its lease lasts (a token, and `due_at` still ahead); there is no counter, so a
process that dies frees its slots by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import Any

from sqlalchemy import BigInteger, TextClause, bindparam, func, select, text

from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import lock
from relay.db.tables import ID, Delivery, Endpoint
from relay.deliveries.sql import due_deliveries
from relay.deliveries.sql.delivery_payloads import DueDelivery
from relay.deliveries.sql.due_deliveries import is_poison

ENDPOINTS_PER_CLAIM = 200  # at most, so that a claim fills its rows also where each endpoint has just one
SLOTS_PER_ENDPOINT = 8  # expected at first (the default limit is 10): locking more makes results wait
LEAST_ENDPOINTS = 10  # scanned, however few slots there are
SUBSCRIBERS_PER_CLAIM = 16  # subscribers among whom one claim is divided; the caller rotates them


@dataclass(frozen=True, slots=True)
class ClaimCapacity:
    """What one claim may take: slots and bytes of bodies, and how much of both for cold endpoints.

    `rotation` are the subscribers with something ready, if there are several; `held` is how many
    slots each subscriber has in this dispatcher. `only`, if given, are the endpoints that may be
    claimed from at all; `tests` is whether a test may be due, `poison` whether a poison message may
    be taken. `scan_factor` multiplies the rows and endpoints that are scanned: more than 1 where
    most endpoints have fewer rows due than free slots, so that a claim fills its slots all the
    same.
    """

    slots: int
    cold_slots: int
    payload_bytes: int
    cold_bytes: int = 1 << 62
    rotation: Sequence[str] = ()
    held: Mapping[str, int] = field(default_factory=dict)
    only: Sequence[str] | None = None
    tests: bool = True
    poison: bool = True
    scan_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Selection:
    """The endpoints visited, how many free slots each has, and the rows to take.

    `leases` says when the first lease of each ends, of those that have anything in flight.
    """

    endpoints: list[Any]
    free: dict[str, int]
    leases: dict[str, Micros]
    rows: list[DueDelivery]


def ready_subscribers(tx: Tx, now: Micros) -> list[str]:
    """The subscribers with an endpoint that may send now."""
    return list(tx.scalars(select(Endpoint.subscriber_id).where(Endpoint.ready_at <= now).distinct()))


def select_due(tx: Tx, now: Micros, capacity: ClaimCapacity) -> Selection:
    """Lock ready endpoints and look up the rows to take of each; locks no delivery."""
    ready = _ready_endpoints(tx, now, capacity)
    in_flight = _in_flight(tx, ready, now)
    free = {row.id: _may_start(row, in_flight.get(row.id, (0, 0))[0]) for row in ready}
    granted = _divide(ready, free, capacity)
    visited = [row for row in ready if granted[row.id] > 0 or free[row.id] == 0]
    rows = due_deliveries.first_due(tx, visited, granted, now, poison=capacity.poison)
    kept = _within(capacity, rows, {row.id for row in visited if not row.warmed_up})
    leases = {endpoint_id: ends_at for endpoint_id, (_, ends_at) in in_flight.items()}
    return Selection(visited, {row.id: free[row.id] for row in visited}, leases, kept)


ENDPOINT_COLUMNS = (
    Endpoint.id,
    Endpoint.subscriber_id,
    Endpoint.warmed_up,
    Endpoint.concurrency_limit,
    Endpoint.max_in_flight,
    Endpoint.rate_per_second,
    Endpoint.opened_at,
    Endpoint.recovered_at,
    Endpoint.url,
    Endpoint.headers_sealed,
)


def _ready_endpoints(tx: Tx, now: Micros, capacity: ClaimCapacity) -> list[Any]:
    """Some endpoints that may send now, locked; those locked by another are passed over.

    Warmed up and cold ones alternate: a backlog at many of the first must not starve a new one.
    """
    rows: list[list[Any]] = []
    cold_slots = min(capacity.cold_slots, capacity.slots) if capacity.cold_bytes > 0 else 0
    expected = max(
        round(capacity.slots * capacity.scan_factor / SLOTS_PER_ENDPOINT),
        LEAST_ENDPOINTS,
        len(capacity.rotation),
    )
    for warmed_up, slots in ((1, capacity.slots), (0, cold_slots)):
        if slots > 0:
            most = min(ENDPOINTS_PER_CLAIM, slots, expected)
            parameters: dict[str, Any] = {"warmed_up": warmed_up, "now": now, "most": most}
            if capacity.only is not None:
                rows.append(_lock_ready(tx, parameters, capacity.only))
                continue
            found = []
            if len(capacity.rotation) > 1:
                found = _lock_ready(tx, parameters, _candidates(tx, capacity.rotation, warmed_up, most, now))
            if len(found) < most:  # the rest of the slots is for every subscriber
                seen = {row.id for row in found}
                found += [row for row in _lock_ready(tx, parameters, None) if row.id not in seen]
            rows.append(found)
    return _round_robin(_interleaved(rows))


def _lock_ready(tx: Tx, parameters: Mapping[str, Any], ids: Sequence[str] | None) -> list[Any]:
    """Lock ready endpoints, of these or of all."""
    dialect = dialect_of(tx)
    some = {} if ids is None else {"ids": dialect.packed(ids)}
    return list(tx.execute(_ready_statement(dialect, some=ids is not None), {**parameters, **some}).all())


@cache
def _ready_statement(dialect: Dialect, *, some: bool) -> Any:
    ready = (Endpoint.warmed_up == bindparam("warmed_up")) & (Endpoint.ready_at <= bindparam("now"))
    if some:
        ready &= dialect.listed(Endpoint.id, "ids")
    first = select(*ENDPOINT_COLUMNS).where(ready).order_by(Endpoint.ready_at).limit(bindparam("most"))
    return lock(first, skip=True)


def _candidates(tx: Tx, rotation: Sequence[str], warmed_up: int, most: int, now: Micros) -> list[str]:
    """As many ready endpoints of each subscriber, so that one with a thousand crowds out nobody."""
    served = rotation[:SUBSCRIBERS_PER_CLAIM]
    parameters: dict[str, Any] = {"now": now, "warmed_up": warmed_up, "n": -(-most // len(served))}
    parameters |= {f"s{index}": subscriber_id for index, subscriber_id in enumerate(served)}
    return list(tx.scalars(_candidate_statement(len(served)), parameters))


@cache
def _candidate_statement(branches: int) -> TextClause:
    branch = (
        "SELECT * FROM (SELECT id FROM endpoints WHERE subscriber_id = :s{0} AND warmed_up = :warmed_up"
        " AND ready_at <= :now ORDER BY ready_at LIMIT :n) AS s{0}"
    )
    statement = text(" UNION ALL ".join(branch.format(index) for index in range(branches)))
    subscribers = [bindparam(f"s{index}", type_=ID) for index in range(branches)]
    return statement.bindparams(bindparam("now", type_=BigInteger), *subscribers)


def _round_robin(rows: Iterable[Any]) -> list[Any]:
    """One endpoint of each subscriber, then the next of each, and so on."""
    queues: dict[str, list[Any]] = {}
    for row in rows:
        queues.setdefault(row.subscriber_id, []).append(row)
    return _interleaved(queues.values())


def _interleaved(queues: Iterable[Sequence[Any]]) -> list[Any]:
    """The first of each, then the second of each, and so on."""
    return [row for nth in zip_longest(*queues) for row in nth if row is not None]


def _in_flight(tx: Tx, ready: Sequence[Any], now: Micros) -> dict[str, tuple[int, Micros]]:
    """Endpoint id → how many it has in flight, and when the first of their leases ends."""
    if not ready:
        return {}
    dialect = dialect_of(tx)
    ids = dialect.packed([row.id for row in ready])
    counted = tx.execute(_in_flight_statement(dialect), {"ids": ids, "now": now})
    return {endpoint_id: (int(count), int(first)) for endpoint_id, count, first in counted.all()}


@cache
def _in_flight_statement(dialect: Dialect) -> Any:
    return (
        select(Delivery.endpoint_id, func.count(), func.min(Delivery.due_at))
        .where(
            dialect.listed(Delivery.endpoint_id, "ids"),
            Delivery.token.is_not(None),
            Delivery.due_at > bindparam("now"),
        )
        .group_by(Delivery.endpoint_id)
    )


def _may_start(row: Any, in_flight: int) -> int:
    """How many an endpoint may start now: its concurrency limit less what is in flight.

    A rate bounds them to a twentieth of a second's worth at once.
    """
    allowed = 1 if row.opened_at is not None else min(row.concurrency_limit, row.max_in_flight)
    free = max(allowed - in_flight, 0)
    return free if row.rate_per_second is None else min(free, max(int(row.rate_per_second / 20), 1))


def _divide(ready: Sequence[Any], free: Mapping[str, int], capacity: ClaimCapacity) -> dict[str, int]:
    """How many rows to look up of each endpoint: even quotas for subscribers, then what is left."""
    subscribers = {row.subscriber_id for row in ready}
    slots = round(capacity.slots * capacity.scan_factor)
    even = (slots + sum(capacity.held.values())) // max(len(subscribers), 1)
    quotas = {subscriber: max(even - capacity.held.get(subscriber, 0), 1) for subscriber in subscribers}
    first = _grant(ready, free, slots, quotas)
    still_free = {endpoint_id: free[endpoint_id] - grant for endpoint_id, grant in first.items()}
    second = _grant(ready, still_free, slots - sum(first.values()), None)
    return {endpoint_id: grant + second[endpoint_id] for endpoint_id, grant in first.items()}


def _grant(
    ready: Sequence[Any], free: Mapping[str, int], slots: int, quotas: dict[str, int] | None
) -> dict[str, int]:
    """Hand out slots, to each endpoint as many as it may start, until there are none left."""
    granted = {}
    for row in ready:
        grant = min(free[row.id], slots, quotas[row.subscriber_id] if quotas is not None else slots)
        granted[row.id] = grant
        slots -= grant
        if quotas is not None:
            quotas[row.subscriber_id] -= grant
    return granted


def _within(capacity: ClaimCapacity, due: Sequence[DueDelivery], cold: set[str]) -> list[DueDelivery]:
    """As many as there is capacity for; one poison message at most, after the other rows."""
    kept: list[DueDelivery] = []
    slots, payload_bytes = capacity.slots, capacity.payload_bytes
    cold_slots, cold_bytes = capacity.cold_slots, capacity.cold_bytes
    for row in sorted(due, key=is_poison):
        if is_poison(row) and any(is_poison(other) for other in kept):
            break
        if slots <= 0 or payload_bytes <= 0:
            break
        if row.endpoint_id in cold:
            if cold_slots <= 0 or cold_bytes <= 0:
                continue
            cold_slots -= 1
            cold_bytes -= row.payload_bytes
        slots -= 1
        payload_bytes -= row.payload_bytes
        kept.append(row)
    return kept
