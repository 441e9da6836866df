"""The claim of due deliveries.

The endpoint is the unit of sending. A claim locks some endpoints that are ready and takes a few due rows of
each, so a backlog of any length behind a blocked endpoint costs the others nothing. In flight is what has
a live lease (a token, and `due_at` still ahead), never a counter: a process that dies frees its slots by
itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    TextClause,
    bindparam,
    case,
    func,
    null,
    select,
    text,
    update,
)

from relay.core.ids import Mint
from relay.core.records import SECOND, Micros
from relay.core.schedule import GIVE_UP_AFTER, SUSPECT_AFTER
from relay.core.states import DeliveryStatus, ErrorClass
from relay.store import endpoints
from relay.store.delivery_payloads import Claimed, Due, load
from relay.store.engine import Tx, among, insert_rows, lock, update_rows
from relay.store.tables import ID, Attempt, Delivery, Endpoint

ENDPOINTS_PER_CLAIM = 64
LOST_DETAIL = "the process that sent this ended before the answer was recorded"
GIVEN_UP = f"given up: {GIVE_UP_AFTER} attempts in a row were lost with the process that sent them"


@dataclass(frozen=True, slots=True)
class Room:
    """What a dispatcher can take on now: transfers, those of unproven endpoints among them, and bytes."""

    slots: int
    unproven_slots: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, and how many attempts it found lost."""

    taken: list[Claimed]
    lost: int


def next_ready(tx: Tx) -> Micros | None:
    """The earliest moment at which any endpoint may send; None when nothing is owed anywhere."""
    return min(
        filter(
            None,
            (
                tx.scalar(
                    select(Endpoint.ready_at)
                    .where(Endpoint.proven == proven, Endpoint.ready_at.is_not(None))
                    .order_by(Endpoint.ready_at)
                    .limit(1)
                )
                for proven in (1, 0)
            ),
        ),
        default=None,
    )


def claim(tx: Tx, *, now: Micros, lease: Micros, token: str, room: Room, mint: Mint) -> Claim:
    """Lease due deliveries of ready endpoints to the holder of `token`, oldest first within each endpoint.

    Attempts whose lease ran out are recorded as lost.
    """
    ready = _ready_endpoints(tx, now, room)
    if not ready:
        return Claim([], 0)
    free = _free_slots(tx, ready, now, room)
    due = _due_rows(tx, free, now)
    kept = _within(room, due, {row.id for row in ready if not row.proven})
    lost = [row for row in kept if row.token is not None]
    _record_lost(tx, lost, now, mint)
    over = [row for row in lost if row.cancel_requested or row.lost_count + 1 >= GIVE_UP_AFTER]
    _end_lost(tx, over, now)
    taken = [row for row in kept if row not in over]
    _lease(tx, taken, now + lease, token)
    _pace_claimed(tx, ready, free, kept, now)
    return Claim(load(tx, taken, token, {row.id for row in ready if not row.proven}), len(lost))


def _ready_endpoints(tx: Tx, now: Micros, room: Room) -> list[Any]:
    """Some endpoints that may send now, locked; those that another dispatcher holds are passed over."""
    columns = (
        Endpoint.id,
        Endpoint.proven,
        Endpoint.allowance,
        Endpoint.max_in_flight,
        Endpoint.rate_per_second,
    )
    rows: list[Any] = []
    for proven, slots in ((1, room.slots), (0, min(room.unproven_slots, room.slots))):
        if slots > 0:
            rows += tx.execute(
                lock(
                    select(*columns)
                    .where(Endpoint.proven == proven, Endpoint.ready_at <= now)
                    .order_by(Endpoint.ready_at)
                    .limit(min(ENDPOINTS_PER_CLAIM, slots)),
                    skip=True,
                )
            )
    return rows


def _free_slots(tx: Tx, ready: Sequence[Any], now: Micros, room: Room) -> dict[str, int]:
    """Endpoint id → how many it may start now: its allowance less what is in flight, and its rate."""
    counted = tx.execute(
        select(Delivery.endpoint_id, func.count())
        .where(
            among(tx, Delivery.endpoint_id, [row.id for row in ready]),
            Delivery.token.is_not(None),
            Delivery.due_at > now,
        )
        .group_by(Delivery.endpoint_id)
    )
    in_flight = {endpoint_id: int(count) for endpoint_id, count in counted}
    free = {}
    for row in ready:
        allowed = min(row.allowance, row.max_in_flight) - in_flight.get(row.id, 0)
        if row.rate_per_second is not None:
            allowed = min(allowed, _burst(row.rate_per_second))
        free[row.id] = max(min(allowed, room.slots), 0)
    return free


def _burst(rate: float) -> int:
    """How many a rate-limited endpoint may start at once: a twentieth of a second's worth, at least one."""
    return max(int(rate / 20), 1)


@lru_cache
def _due_statement(branches: int) -> TextClause:
    """The first due rows of several endpoints, each by a look into the index: LATERAL is not everywhere."""
    columns = "id, endpoint_id, token, attempt_count, lost_count, cancel_requested, payload_bytes"
    one = (
        f"SELECT * FROM (SELECT {columns} FROM deliveries"  # noqa: S608 - our own names, no values
        " WHERE endpoint_id = :e{0} AND due_at <= :now ORDER BY due_at LIMIT :n{0}) AS d{0}"
    )
    statement = text(" UNION ALL ".join(one.format(index) for index in range(branches)))
    ids = [bindparam(f"e{index}", type_=ID) for index in range(branches)]
    limits = [bindparam(f"n{index}", type_=Integer) for index in range(branches)]
    return statement.bindparams(bindparam("now", type_=BigInteger), *ids, *limits)


def _due_rows(tx: Tx, free: Mapping[str, int], now: Micros) -> list[Due]:
    """Due rows, at most as many of each endpoint as it has free slots."""
    wanted = [(endpoint_id, slots) for endpoint_id, slots in free.items() if slots > 0]
    if not wanted:
        return []
    branches = 1
    while branches < len(wanted):  # few different texts, so that prepared statements are found again
        branches *= 4
    wanted += [("", 0)] * (branches - len(wanted))
    parameters: dict[str, Any] = {"now": now}
    for index, (endpoint_id, slots) in enumerate(wanted):
        parameters |= {f"e{index}": endpoint_id, f"n{index}": slots}
    return [Due(*row) for row in tx.execute(_due_statement(branches), parameters)]


def _within(room: Room, due: Sequence[Due], unproven: set[str]) -> list[Due]:
    """As many as there is room for; a suspect goes only by itself, after what else was found."""
    kept: list[Due] = []
    slots, unproven_slots, payload_bytes = room.slots, room.unproven_slots, room.payload_bytes
    for row in sorted(due, key=_is_suspect):
        if _is_suspect(row) and any(_is_suspect(other) for other in kept):
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


def _is_suspect(row: Due) -> bool:
    """Two processes in a row died with this row in hand, counting the lease that has just run out."""
    return row.lost_count + (row.token is not None) >= SUSPECT_AFTER


def _record_lost(tx: Tx, lost: Sequence[Due], now: Micros, mint: Mint) -> None:
    """Write the attempts that nobody lived to record."""
    rows = [
        {
            "delivery_id": row.id,
            "number": row.attempt_count,
            "id": mint("att"),
            "started_at": now,
            "error": ErrorClass.LOST,
            "detail": LOST_DETAIL,
        }
        for row in lost
    ]
    insert_rows(tx, Attempt, rows)


def _end_lost(tx: Tx, over: Sequence[Due], now: Micros) -> None:
    """End rows that were lost too often, or whose watch was cancelled while they were out."""
    for status in (DeliveryStatus.CANCELLED, DeliveryStatus.FAILED):
        cancelled = status is DeliveryStatus.CANCELLED
        ids = [row.id for row in over if bool(row.cancel_requested) is cancelled]
        if ids:
            tx.execute(
                update(Delivery)
                .where(among(tx, Delivery.id, ids))
                .values(
                    status=status,
                    due_at=null(),
                    token=null(),
                    finished_at=now,
                    lost_count=Delivery.lost_count + 1,
                    last_error=LOST_DETAIL if cancelled else GIVEN_UP,
                )
            )


def _lease(tx: Tx, taken: Sequence[Due], until: Micros, token: str) -> None:
    """Take the rows. In this order: MySQL reads what an UPDATE has just set, and the old token counts."""
    if taken:
        lost_count = case((Delivery.token.is_not(None), Delivery.lost_count + 1), else_=Delivery.lost_count)
        tx.execute(
            update(Delivery)
            .where(among(tx, Delivery.id, sorted(row.id for row in taken)))
            .ordered_values(
                (Delivery.lost_count, lost_count),
                (Delivery.attempt_count, Delivery.attempt_count + 1),
                (Delivery.due_at, until),
                (Delivery.token, token),
            )
        )


def _pace_claimed(
    tx: Tx,
    ready: Sequence[Any],
    free: Mapping[str, int],
    kept: Sequence[Due],
    now: Micros,
) -> None:
    """Say of every endpoint visited when it may send next."""
    started = {row.id: 0 for row in ready}
    for row in kept:
        started[row.endpoint_id] += 1
    limited = [
        {
            "row": row.id,
            "next": now + round(started[row.id] / row.rate_per_second * SECOND),
        }
        for row in ready
        if row.rate_per_second is not None and started[row.id]
    ]
    statement = update(Endpoint).where(Endpoint.id == bindparam("row")).values(not_before=bindparam("next"))
    update_rows(tx, statement, limited)
    unlimited = {row.id for row in ready if row.rate_per_second is None}
    full = {
        endpoint_id
        for endpoint_id, slots in free.items()
        if started[endpoint_id] >= slots and (slots == 0 or endpoint_id in unlimited)
    }
    endpoints.wait_for_a_slot(tx, full, now)
    endpoints.look_again(tx, started.keys() - full, now)
