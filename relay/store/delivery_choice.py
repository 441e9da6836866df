"""Which due deliveries a claim takes: fair between subscribers, at each endpoint's own pace.

The endpoint is the unit of sending. A claim locks some endpoints that are ready and takes a few due rows of
each, so a backlog of any length behind a blocked endpoint costs the others nothing. In flight is what has
a live lease (a token, and `due_at` still ahead), never a counter: a process that dies frees its slots by
itself.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Text, TextClause, bindparam, func, select, text

from relay.core.records import Micros
from relay.core.schedule import SUSPECT_AFTER
from relay.store.delivery_payloads import Due
from relay.store.engine import Tx, listed, lock, packed
from relay.store.tables import ID, Delivery, Endpoint

ENDPOINTS_PER_CLAIM = 200  # at most, so that a claim fills its rows also where each endpoint is owed just one
SLOTS_PER_ENDPOINT = 8  # expected at first (the default limit is 10): who locks more makes settles wait
LEAST_ENDPOINTS = 10  # looked at, however few slots there are
TURNS_PER_CLAIM = 16  # subscribers among whom one claim is shared; the caller rotates them
TESTS_PER_CLAIM = 10
MOST_BRANCHES = 256  # of one UNION: SQLite takes 500


@dataclass(frozen=True, slots=True)
class Room:
    """What a dispatcher can take on now: transfers, those of unproven endpoints among them, and bytes.

    `turns` are the subscribers with something ready, if there are several; `held` is how many transfers each
    subscriber has in this dispatcher. `only`, if given, are the endpoints that may be claimed from at all.
    `reach` is how many times the slots, and the endpoints expected to fill them, are looked at: more than 1
    where most owe less than they have slots for, so that a claim fills its slots all the same.
    """

    slots: int
    unproven_slots: int
    payload_bytes: int
    turns: Sequence[str] = ()
    held: Mapping[str, int] = field(default_factory=dict)
    only: Sequence[str] | None = None
    reach: float = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The endpoints visited, how many each has free slots for, and the rows to take.

    `leases` says when the first lease of each ends, of those that have anything in flight.
    """

    endpoints: list[Any]
    free: dict[str, int]
    leases: dict[str, Micros]
    rows: list[Due]


class Branch(NamedTuple):
    """A stretch of one endpoint's due rows: those due after `after` and until `until`, `most` of them."""

    endpoint_id: str
    after: Micros
    until: Micros
    most: int


def ready_subscribers(tx: Tx, now: Micros) -> list[str]:
    """The subscribers with an endpoint that may send now."""
    return list(tx.scalars(select(Endpoint.subscriber_id).where(Endpoint.ready_at <= now).distinct()))


def choose(tx: Tx, now: Micros, room: Room) -> Choice:
    """Lock ready endpoints and look up the rows to take of each; locks no delivery."""
    ready = _ready_endpoints(tx, now, room)
    in_flight = _in_flight(tx, ready, now)
    free = {row.id: _may_start(row, in_flight.get(row.id, (0, 0))[0]) for row in ready}
    granted = _shared_out(ready, free, room)
    visited = [row for row in ready if granted[row.id] > 0 or free[row.id] == 0]
    rows = _merge(_due_rows(tx, _branches(visited, granted, now)), visited, granted)
    kept = _within(room, rows, {row.id for row in visited if not row.proven})
    leases = {endpoint_id: ends_at for endpoint_id, (_, ends_at) in in_flight.items()}
    return Choice(visited, {row.id: free[row.id] for row in visited}, leases, kept)


def due_tests(tx: Tx, now: Micros) -> list[Due]:
    """Tests that are to be sent now, locked: they go whatever their endpoint's state is."""
    return [_due(row) for row in tx.execute(_TESTS, {"now": now})]


def _due(row: Any) -> Due:
    return Due(*row)


DUE_COLUMNS = (
    Delivery.id,
    Delivery.endpoint_id,
    Delivery.token,
    Delivery.attempt_count,
    Delivery.lost_count,
    Delivery.cancel_requested,
    Delivery.payload_bytes,
    Delivery.due_at,
)
_DUE_NAMES = ", ".join(column.key for column in DUE_COLUMNS)
ENDPOINT_COLUMNS = (
    Endpoint.id,
    Endpoint.subscriber_id,
    Endpoint.proven,
    Endpoint.allowance,
    Endpoint.max_in_flight,
    Endpoint.rate_per_second,
    Endpoint.opened_at,
    Endpoint.recovered_at,
    Endpoint.url,
    Endpoint.headers_sealed,
)


_TESTS = lock(
    select(*DUE_COLUMNS)
    .where(Delivery.solo_at <= bindparam("now"))
    .order_by(Delivery.solo_at)
    .limit(TESTS_PER_CLAIM),
    skip=True,
)


def _ready_endpoints(tx: Tx, now: Micros, room: Room) -> list[Any]:
    """Some endpoints that may send now, locked; those that another dispatcher holds are passed over."""
    rows: list[Any] = []
    expected = max(round(room.slots * room.reach / SLOTS_PER_ENDPOINT), LEAST_ENDPOINTS, len(room.turns))
    for proven, slots in ((1, room.slots), (0, min(room.unproven_slots, room.slots))):
        if slots > 0:
            most = min(ENDPOINTS_PER_CLAIM, slots, expected)
            parameters: dict[str, Any] = {"proven": proven, "now": now, "most": most}
            if room.only is not None:
                rows += _lock_ready(tx, parameters, room.only)
                continue
            found = []
            if len(room.turns) > 1:
                found = _lock_ready(tx, parameters, _candidates(tx, room.turns, proven, most, now))
            if len(found) < most:  # nobody else's turn: what is left goes to whoever is ready
                seen = {row.id for row in found}
                found += [row for row in _lock_ready(tx, parameters, None) if row.id not in seen]
            rows += found
    return _by_turns(rows)


def _lock_ready(tx: Tx, parameters: Mapping[str, Any], ids: Sequence[str] | None) -> list[Any]:
    """Lock ready endpoints, of these or of all."""
    dialect = tx.dialect.name
    some = {} if ids is None else {"ids": packed(dialect, ids)}
    return list(tx.execute(_ready_statement(dialect, some=ids is not None), {**parameters, **some}).all())


@cache
def _ready_statement(dialect: str, *, some: bool) -> Any:
    ready = (Endpoint.proven == bindparam("proven")) & (Endpoint.ready_at <= bindparam("now"))
    if some:
        ready &= listed(dialect, Endpoint.id, "ids")
    first = select(*ENDPOINT_COLUMNS).where(ready).order_by(Endpoint.ready_at).limit(bindparam("most"))
    return lock(first, skip=True)


def _candidates(tx: Tx, turns: Sequence[str], proven: int, most: int, now: Micros) -> list[str]:
    """As many ready endpoints of each subscriber, so that one with a thousand crowds out nobody."""
    wanted = turns[:TURNS_PER_CLAIM]
    parameters: dict[str, Any] = {"now": now, "proven": proven, "n": -(-most // len(wanted))}
    parameters |= {f"s{index}": subscriber_id for index, subscriber_id in enumerate(wanted)}
    return list(tx.scalars(_candidate_statement(len(wanted)), parameters))


@cache
def _candidate_statement(branches: int) -> TextClause:
    one = (
        "SELECT * FROM (SELECT id FROM endpoints WHERE subscriber_id = :s{0} AND proven = :proven"
        " AND ready_at <= :now ORDER BY ready_at LIMIT :n) AS s{0}"
    )
    statement = text(" UNION ALL ".join(one.format(index) for index in range(branches)))
    subscribers = [bindparam(f"s{index}", type_=ID) for index in range(branches)]
    return statement.bindparams(bindparam("now", type_=BigInteger), *subscribers)


def _by_turns(rows: Iterable[Any]) -> list[Any]:
    """One endpoint of each subscriber, then the next of each, and so on."""
    queues: dict[str, list[Any]] = {}
    for row in rows:
        queues.setdefault(row.subscriber_id, []).append(row)
    return [row for turn in zip_longest(*queues.values()) for row in turn if row is not None]


def _in_flight(tx: Tx, ready: Sequence[Any], now: Micros) -> dict[str, tuple[int, Micros]]:
    """Endpoint id → how many it has in flight, and when the first of their leases ends."""
    if not ready:
        return {}
    dialect = tx.dialect.name
    ids = packed(dialect, [row.id for row in ready])
    counted = tx.execute(_in_flight_statement(dialect), {"ids": ids, "now": now})
    return {endpoint_id: (int(count), int(first)) for endpoint_id, count, first in counted.all()}


@cache
def _in_flight_statement(dialect: str) -> Any:
    return (
        select(Delivery.endpoint_id, func.count(), func.min(Delivery.due_at))
        .where(
            listed(dialect, Delivery.endpoint_id, "ids"),
            Delivery.token.is_not(None),
            Delivery.due_at > bindparam("now"),
        )
        .group_by(Delivery.endpoint_id)
    )


def _may_start(row: Any, in_flight: int) -> int:
    """How many an endpoint may start now: its allowance less what is in flight.

    A rate bounds them to a twentieth of a second's worth at once.
    """
    allowed = 1 if row.opened_at is not None else min(row.allowance, row.max_in_flight)
    free = max(allowed - in_flight, 0)
    return free if row.rate_per_second is None else min(free, max(int(row.rate_per_second / 20), 1))


def _shared_out(ready: Sequence[Any], free: Mapping[str, int], room: Room) -> dict[str, int]:
    """How many rows to look up of each endpoint: even shares for the subscribers, then what is left."""
    subscribers = {row.subscriber_id for row in ready}
    slots = round(room.slots * room.reach)
    even = (slots + sum(room.held.values())) // max(len(subscribers), 1)
    share = {one: max(even - room.held.get(one, 0), 1) for one in subscribers}
    first = _grant(ready, free, slots, share)
    rest = {endpoint_id: free[endpoint_id] - grant for endpoint_id, grant in first.items()}
    second = _grant(ready, rest, slots - sum(first.values()), None)
    return {endpoint_id: grant + second[endpoint_id] for endpoint_id, grant in first.items()}


def _grant(
    ready: Sequence[Any], free: Mapping[str, int], slots: int, share: dict[str, int] | None
) -> dict[str, int]:
    """Hand out slots in turn, to each as many as it may start, until there are none left."""
    granted = {}
    for row in ready:
        grant = min(free[row.id], slots, share[row.subscriber_id] if share is not None else slots)
        granted[row.id] = grant
        slots -= grant
        if share is not None:
            share[row.subscriber_id] -= grant
    return granted


def _branches(visited: Sequence[Any], granted: Mapping[str, int], now: Micros) -> list[Branch]:
    """What to look up: an endpoint that recovers has its backlog and what came since looked up apart."""
    branches = []
    for row in visited:
        if granted[row.id] > 0:
            split = row.recovered_at or 0
            if split:
                branches.append(Branch(row.id, -1, split, granted[row.id]))
            branches.append(Branch(row.id, split or -1, now, granted[row.id]))
    return branches


def _due_rows(tx: Tx, wanted: Sequence[Branch]) -> list[Due]:
    """The first due rows of several endpoints, each by a look into the index."""
    if not wanted:
        return []
    if tx.dialect.name == "postgresql":
        parameters = {"branches": json.dumps([branch._asdict() for branch in wanted])}
        return [_due(row) for row in tx.execute(_LATERAL, parameters).all()]
    if len(wanted) > MOST_BRANCHES:
        return _due_rows(tx, wanted[:MOST_BRANCHES]) + _due_rows(tx, wanted[MOST_BRANCHES:])
    size = 1
    while size < len(wanted):  # few different texts, so that prepared statements are found again
        size *= 4
    padded = (*wanted, *(Branch("", 0, 0, 0) for _ in range(size - len(wanted))))
    values = tuple(value for branch in padded for value in branch)
    return [_due(row) for row in tx.exec_driver_sql(_union(tx.dialect.name, size), values).all()]


_LATERAL = text(
    "SELECT d.* FROM json_to_recordset(CAST(:branches AS json))"  # noqa: S608 - our own names
    " AS b(endpoint_id text, after bigint, until bigint, most int) CROSS JOIN LATERAL"
    f" (SELECT {_DUE_NAMES} FROM deliveries WHERE endpoint_id = b.endpoint_id"
    " AND due_at > b.after AND due_at <= b.until ORDER BY due_at LIMIT b.most) AS d"
).bindparams(bindparam("branches", type_=Text))


@cache
def _union(dialect: str, branches: int) -> str:
    """The same where there is no LATERAL, or not in every version."""
    one = (
        f"SELECT * FROM (SELECT {_DUE_NAMES} FROM deliveries WHERE endpoint_id = ?"  # noqa: S608 - our own names
        " AND due_at > ? AND due_at <= ? ORDER BY due_at LIMIT ?) AS d{0}"
    )
    statement = " UNION ALL ".join(one.format(index) for index in range(branches))
    return statement if dialect == "sqlite" else statement.replace("?", "%s")


def _merge(rows: Sequence[Due], visited: Sequence[Any], granted: Mapping[str, int]) -> list[Due]:
    """Oldest first; at an endpoint that recovers, every second slot is for what came since.

    So its backlog goes in order, and what is new does not wait for hours behind it.
    """
    recovered_at = {row.id: row.recovered_at or 0 for row in visited}
    old: dict[str, list[Due]] = {row.id: [] for row in visited}
    new: dict[str, list[Due]] = {row.id: [] for row in visited}
    for row in rows:
        is_new = (row.due_at or 0) > recovered_at[row.endpoint_id]
        (new if is_new else old)[row.endpoint_id].append(row)
    merged: list[Due] = []
    for endpoint_id, slots in ((row.id, granted[row.id]) for row in visited):
        backlog, fresh = old[endpoint_id], new[endpoint_id]
        for_fresh = max((slots + _odd(fresh)) // 2, slots - len(backlog)) if backlog else slots
        merged += fresh[:for_fresh]
        merged += backlog[: slots - min(for_fresh, len(fresh))]
    return merged


def _odd(fresh: Sequence[Due]) -> int:
    """Whose turn the odd slot is: it changes with the first fresh row, so that neither side starves."""
    return int(fresh[0].id[-1], 16) % 2 if fresh else 0


def _within(room: Room, due: Sequence[Due], unproven: set[str]) -> list[Due]:
    """As many as there is room for; a suspect goes only by itself, after what else was found."""
    kept: list[Due] = []
    slots, unproven_slots, payload_bytes = room.slots, room.unproven_slots, room.payload_bytes
    for row in sorted(due, key=is_suspect):
        if is_suspect(row) and any(is_suspect(other) for other in kept):
            break
        if slots <= 0 or payload_bytes <= 0:
            break
        if row.endpoint_id in unproven:
            if unproven_slots <= 0:
                continue
            unproven_slots -= 1
        slots -= 1
        payload_bytes -= row.payload_bytes
        kept.append(row)
    return kept


def is_suspect(row: Due) -> bool:
    """Two processes in a row died with this row in hand, counting the lease that has just run out."""
    return row.lost_count + (row.token is not None) >= SUSPECT_AFTER
