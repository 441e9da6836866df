"""The claim of due deliveries.

delivery_choice says which rows; this leases them, records the attempts that were lost, and says
when each endpoint may send next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    bindparam,
    case,
    null,
    select,
    update,
)

from relay.common.ids import NewId
from relay.common.states import DeliveryStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.leases import GIVE_UP_AFTER
from relay.db.statements import among, update_rows
from relay.db.tables import Delivery, Endpoint
from relay.deliveries.sql import lost_attempts
from relay.deliveries.sql.delivery_payloads import Claimed, Due, load, load_tests
from relay.deliveries.sql.due_deliveries import due_tests, is_poison
from relay.deliveries.sql.endpoint_selection import Choice, ClaimCapacity, choose
from relay.endpoints.sql import endpoints

GIVEN_UP = f"given up: {GIVE_UP_AFTER} attempts in a row were lost with the process that sent them"


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, how many attempts it found lost, and which deliveries it ended for that."""

    taken: list[Claimed]
    lost: int
    ended: list[tuple[str, DeliveryStatus]]


class Ready(NamedTuple):
    """The earliest moments at which an endpoint may send, and a test is due; None: nothing is owed there."""

    warmed_up: Micros | None
    cold: Micros | None
    test: Micros | None

    @property
    def first(self) -> Micros | None:
        """The earliest of all."""
        return min((at for at in self if at is not None), default=None)


def next_ready(tx: Tx) -> Ready:
    """When there may be something to send."""
    return Ready._make(tx.execute(_NEXT_READY).one())


def _first(at: Any, *conditions: Any) -> Any:
    return select(at).where(at.is_not(None), *conditions).order_by(at).limit(1).scalar_subquery()


_NEXT_READY = select(
    _first(Endpoint.ready_at, Endpoint.warmed_up == 1).label("warmed_up"),
    _first(Endpoint.ready_at, Endpoint.warmed_up == 0).label("unproven"),
    _first(Delivery.solo_at).label("test"),
)


def claim(tx: Tx, *, now: Micros, lease: Micros, token: str, capacity: ClaimCapacity, new_id: NewId) -> Claim:
    """Lease due deliveries of ready endpoints to the holder of `token`.

    Attempts whose lease ran out are recorded as lost.
    """
    chosen = choose(tx, now, capacity)
    tests = due_tests(tx, now) if capacity.slots > 0 and capacity.tests else []
    tests = _few_poison(tests, none_yet=capacity.poison and not any(is_poison(row) for row in chosen.rows))
    lost = [row for row in (*chosen.rows, *tests) if row.token is not None]
    lost_attempts.record(tx, lost, now, new_id)
    over = [row for row in lost if row.cancel_requested or row.lost_count + 1 >= GIVE_UP_AFTER]
    ended = _end_lost(tx, over, now)
    taken = [row for row in chosen.rows if row not in over]
    _lease(tx, taken, now + lease, token, "due_at")
    tests = [row for row in tests if row not in over]
    _lease(tx, tests, now + lease, token, "solo_at")
    _reschedule_claimed(tx, chosen, taken, now, now + lease)
    return Claim(load(tx, taken, token, chosen.endpoints) + load_tests(tx, tests, token), len(lost), ended)


def _few_poison(tests: Sequence[Due], *, none_yet: bool) -> list[Due]:
    """A claim takes one suspect at most: tests that are suspects wait until no other is in hand."""
    kept = []
    for test in tests:
        if none_yet or not is_poison(test):
            kept.append(test)
            none_yet = none_yet and not is_poison(test)
    return kept


def _end_lost(tx: Tx, over: Sequence[Due], now: Micros) -> list[tuple[str, DeliveryStatus]]:
    """End rows that were lost too often, or whose watch was cancelled while they were out."""
    ended: list[tuple[str, DeliveryStatus]] = []
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
                    solo_at=null(),
                    token=null(),
                    finished_at=now,
                    lost_count=Delivery.lost_count + 1,
                    last_error=lost_attempts.LOST_DETAIL if cancelled else GIVEN_UP,
                )
            )
            ended += [(delivery_id, status) for delivery_id in ids]
    return ended


def _lease(tx: Tx, taken: Sequence[Due], until: Micros, token: str, due: str) -> None:
    if taken:
        dialect = dialect_of(tx)
        ids = dialect.packed(sorted(row.id for row in taken))
        tx.execute(_lease_statement(dialect, due), {"ids": ids, "until": until, "holder": token})


@cache
def _lease_statement(dialect: Dialect, due: str) -> Any:
    """Take the rows. In this order: MySQL reads what an UPDATE has just set, and the old token counts."""
    lost_count = case((Delivery.token.is_not(None), Delivery.lost_count + 1), else_=Delivery.lost_count)
    return (
        update(Delivery)
        .where(dialect.listed(Delivery.id, "ids"))
        .ordered_values(
            (Delivery.lost_count, lost_count),
            (Delivery.attempt_count, Delivery.attempt_count + 1),
            (getattr(Delivery, due), bindparam("until")),
            (Delivery.token, bindparam("holder")),
        )
    )


def _reschedule_claimed(tx: Tx, chosen: Choice, taken: Sequence[Due], now: Micros, until: Micros) -> None:
    """Say of every endpoint visited when it may send next; the leases just taken end at `until`."""
    started = dict.fromkeys(chosen.free, 0)
    for row in taken:
        started[row.endpoint_id] += 1
    limited = [
        {"row": row.id, "next": now + round(started[row.id] / row.rate_per_second * US_PER_SECOND)}
        for row in chosen.endpoints
        if row.rate_per_second is not None and started[row.id]
    ]
    if limited:
        later = update(Endpoint).where(Endpoint.id == bindparam("row")).values(not_before=bindparam("next"))
        update_rows(tx, later, limited)
    unlimited = {row.id for row in chosen.endpoints if row.rate_per_second is None}
    full = {
        endpoint_id
        for endpoint_id, slots in chosen.free.items()
        if started[endpoint_id] >= slots and (slots == 0 or endpoint_id in unlimited)
    }
    first_end = min((chosen.leases.get(endpoint_id, until) for endpoint_id in full), default=until)
    endpoints.wait_for_a_slot(tx, full, first_end)
    endpoints.recompute(tx, started.keys() - full, now)
