"""The claim of due deliveries: leases the rows selected, and says when each endpoint may send next.

Attempts whose lease ran out are recorded as lost; the retry policy decides which deliveries end for
that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from relay.common.ids import NewId
from relay.common.states import DeliveryStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.db.statements import among, update_rows
from relay.db.tables import Delivery, Endpoint
from relay.deliveries.rules.retry_policy import Decision, RetryPolicy
from relay.deliveries.sql import attempt_records, delivery_moves
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery, DueDelivery, load, load_tests
from relay.deliveries.sql.due_deliveries import due_tests, is_poison
from relay.deliveries.sql.endpoint_selection import ClaimCapacity, Selection, select_due
from relay.endpoints.sql import endpoint_moves


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, how many attempts it found lost, and the deliveries it ended."""

    taken: list[ClaimedDelivery]
    lost: int
    ended: dict[str, DeliveryStatus]


class NextReady(NamedTuple):
    """The first moments at which an endpoint may send, and a test is due; None: there is none."""

    warmed_up: Micros | None
    cold: Micros | None
    test: Micros | None

    @property
    def first(self) -> Micros | None:
        """The earliest of all."""
        return min((ready_at for ready_at in self if ready_at is not None), default=None)


def next_ready(tx: Tx) -> NextReady:
    """When there may be something to send."""
    return NextReady._make(tx.execute(_NEXT_READY).one())


def _first(column: Any, *conditions: Any) -> Any:
    set_rows = select(column).where(column.is_not(None), *conditions)
    return set_rows.order_by(column).limit(1).scalar_subquery()


_NEXT_READY = select(
    _first(Endpoint.ready_at, Endpoint.warmed_up == 1).label("warmed_up"),
    _first(Endpoint.ready_at, Endpoint.warmed_up == 0).label("cold"),
    _first(Delivery.solo_at).label("test"),
)


def claim(
    tx: Tx,
    *,
    now: Micros,
    lease: Micros,
    token: str,
    capacity: ClaimCapacity,
    policy: RetryPolicy,
    new_id: NewId,
) -> Claim:
    """Lease due deliveries of ready endpoints to the holder of `token`."""
    selected = select_due(tx, now, capacity)
    tests = due_tests(tx, now) if capacity.slots > 0 and capacity.tests else []
    tests = _few_poison(tests, none_yet=capacity.poison and not any(is_poison(row) for row in selected.rows))
    lost = [row for row in (*selected.rows, *tests) if row.token is not None]
    attempt_records.insert_lost(tx, lost, now, new_id)
    over = _end_lost(tx, lost, policy, now)
    taken = [row for row in selected.rows if row.id not in over]
    delivery_moves.lease(tx, [row.id for row in taken], now + lease, token, "due_at")
    tests = [row for row in tests if row.id not in over]
    delivery_moves.lease(tx, [row.id for row in tests], now + lease, token, "solo_at")
    _reschedule_claimed(tx, selected, taken, now, now + lease)
    loaded = load(tx, taken, token, selected.endpoints) + load_tests(tx, tests, token)
    return Claim(loaded, len(lost), over)


def _few_poison(tests: Sequence[DueDelivery], *, none_yet: bool) -> list[DueDelivery]:
    """A claim takes one poison message at most: tests that are wait until no other is in hand."""
    kept = []
    for test in tests:
        if none_yet or not is_poison(test):
            kept.append(test)
            none_yet = none_yet and not is_poison(test)
    return kept


def _end_lost(
    tx: Tx, lost: Sequence[DueDelivery], policy: RetryPolicy, now: Micros
) -> dict[str, DeliveryStatus]:
    """End the deliveries that the policy gives up after a lost attempt; id → how each ended."""
    ended: dict[Decision, list[str]] = {}
    for row in lost:
        decision = policy.decide_lost(row.lost_count + 1, cancel_requested=bool(row.cancel_requested))
        if decision is not None:
            ended.setdefault(decision, []).append(row.id)
    for decision, ids in ended.items():
        columns = delivery_moves.ended(decision.status, now)
        counted = {"lost_count": Delivery.lost_count + 1, "last_error": decision.reason}
        tx.execute(update(Delivery).where(among(tx, Delivery.id, sorted(ids))).values(columns | counted))
    return {delivery_id: decision.status for decision, ids in ended.items() for delivery_id in ids}


def _reschedule_claimed(
    tx: Tx, selected: Selection, taken: Sequence[DueDelivery], now: Micros, until: Micros
) -> None:
    """Set when each endpoint visited may send next; the leases just taken end at `until`."""
    started = dict.fromkeys(selected.free, 0)
    for row in taken:
        started[row.endpoint_id] += 1
    limited = [
        {"row": row.id, "next": now + round(started[row.id] / row.rate_per_second * US_PER_SECOND)}
        for row in selected.endpoints
        if row.rate_per_second is not None and started[row.id]
    ]
    if limited:
        later = update(Endpoint).where(Endpoint.id == bindparam("row")).values(not_before=bindparam("next"))
        update_rows(tx, later, limited)
    unlimited = {row.id for row in selected.endpoints if row.rate_per_second is None}
    full = {
        endpoint_id
        for endpoint_id, slots in selected.free.items()
        if started[endpoint_id] >= slots and (slots == 0 or endpoint_id in unlimited)
    }
    first_end = min((selected.leases.get(endpoint_id, until) for endpoint_id in full), default=until)
    endpoint_moves.wait_for_a_slot(tx, full, first_end)
    endpoint_moves.recompute(tx, started.keys() - full, now)
