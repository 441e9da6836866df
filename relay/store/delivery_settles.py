"""The settle of attempts: each row changes only while the token of its claim still stands.

A batch locks its endpoints, reads its rows, parts the live from the stale, and has the live written
(`delivery_records`): an attempt each, and delivered, due later, failed or cancelled. A late process can't
overwrite its successor. Whoever changes a delivery holds the lock of its endpoint, so the rows need none of
their own; but tests, which are claimed whatever their endpoint's state is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import case, null, select, update

from relay.core.pace import Pace, why_disable
from relay.core.records import SECOND, Micros
from relay.core.schedule import longest_wait, retry_after_seconds, retry_at
from relay.core.states import DeliveryStatus, DisabledReason, EndpointStatus, ErrorClass, Event
from relay.store import delivery_records, endpoints
from relay.store.delivery_records import BLOCKED_TOO_LONG, Done, Settled, clean, error_text
from relay.store.engine import Tx
from relay.store.statements import listed, lock, packed
from relay.store.tables import Delivery


@dataclass(slots=True)
class Health:
    """An endpoint while a batch is settled: as the database has it, and as the batch's answers make it."""

    row: Any
    pace: Pace
    error: str | None = None
    given_up: DisabledReason | None = None

    @property
    def is_disabled(self) -> bool:
        """Whether what it is owed is held, from before or by this batch."""
        return self.given_up is not None or self.row.status == EndpointStatus.DISABLED

    def note(self, done: Done, now: Micros) -> None:
        """Learn from one answer."""
        if done.reply.error is None:
            self.pace = self.pace.after_success(now, self.row.max_in_flight)
            return
        self.pace = self.pace.after_failure(now, started_at=done.flight.started_at, dice=done.dice)
        self.error = error_text(done.reply)
        self.given_up = self.given_up or why_disable(self.pace, now, done.reply.status_code)


@dataclass(frozen=True, slots=True)
class Turn:
    """A change in an endpoint's health that people want to hear of."""

    endpoint_id: str
    became: Literal["open", "closed", "disabled"]
    detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a batch: each attempt, and how it changed the endpoints."""

    settled: list[Settled]
    turns: list[Turn]


def settle(tx: Tx, batch: Sequence[Done], *, now: Micros, steps: Sequence[float]) -> Batch:
    """Record a batch of attempts; `steps` is the retry schedule in seconds."""
    owners = endpoints.lock_in_order(tx, (done.flight.endpoint_id for done in batch))
    healths = {endpoint_id: Health(row, endpoints.pace_of(row)) for endpoint_id, row in owners.items()}
    rows = _read(tx, [done.flight.delivery_id for done in batch])
    settled = [
        _settle_one(done, rows.get(done.flight.delivery_id), healths[done.flight.endpoint_id], now, steps)
        for done in batch
    ]
    live = [one for one in settled if one.status is not None]
    delivery_records.write(tx, live, now)
    _save_healths(tx, healths, now)
    endpoints.look_again(tx, _to_wake(live, healths, now), now)
    return Batch(settled, [turn for health in healths.values() if (turn := _turn_of(health)) is not None])


def _to_wake(live: Sequence[Settled], healths: Mapping[str, Health], now: Micros) -> set[str]:
    """The endpoints whose next sending these may change: one that is ready stays it after a success."""
    stay = {
        endpoint_id
        for endpoint_id, health in healths.items()
        if health.row.ready_at is not None and health.row.ready_at <= now
    }
    failed = {one.done.flight.endpoint_id for one in live if one.done.reply.error is not None}
    return failed | ({one.done.flight.endpoint_id for one in live} - stay)


def release(tx: Tx, claims: Sequence[tuple[str, str, str]], now: Micros) -> None:
    """Give back claims that were never sent, as if they had not been made; a cancelled one ends.

    Each is (delivery id, token, endpoint id).
    """
    owners = sorted({endpoint_id for _, _, endpoint_id in claims})
    endpoints.lock_in_order(tx, owners)
    for delivery_id, token, _ in sorted(claims):
        ours = (Delivery.id == delivery_id) & (Delivery.token == token)
        cancelled = Delivery.cancel_requested == 1
        tx.execute(
            update(Delivery)
            .where(ours, cancelled)
            .values(status=DeliveryStatus.CANCELLED, due_at=null(), solo_at=null(), token=null())
            .values(finished_at=now, attempt_count=Delivery.attempt_count - 1)
        )
        tx.execute(
            update(Delivery)
            .where(ours)
            .values(
                due_at=case((Delivery.due_at.is_not(None), now), else_=null()),
                solo_at=case((Delivery.solo_at.is_not(None), now), else_=null()),
                token=null(),
                attempt_count=Delivery.attempt_count - 1,
            )
        )
    endpoints.look_again(tx, owners, now)


def _read(tx: Tx, ids: Sequence[str]) -> dict[str, Any]:
    """The rows of a batch, whose endpoints are locked; tests among them are locked and read once more."""
    found = _rows(tx, _read_statement(tx.dialect.name), ids)
    tests = [row.id for row in found.values() if row.event == Event.TEST]
    return found | (_rows(tx, lock(_read_statement(tx.dialect.name)), tests) if tests else {})


def _rows(tx: Tx, statement: Any, ids: Sequence[str]) -> dict[str, Any]:
    rows = tx.execute(statement, {"ids": packed(tx.dialect.name, sorted(ids))})
    return {row.id: row for row in rows.all()}


@cache
def _read_statement(dialect: str) -> Any:
    columns = (
        Delivery.id,
        Delivery.event,
        Delivery.token,
        Delivery.attempt_count,
        Delivery.step,
        Delivery.since,
        Delivery.cancel_requested,
    )
    return select(*columns).where(listed(dialect, Delivery.id, "ids")).order_by(Delivery.id)


def _settle_one(done: Done, row: Any, health: Health, now: Micros, steps: Sequence[float]) -> Settled:
    """Judge one attempt by the state its endpoint was in, and let the endpoint learn from it."""
    flight, reply, _, _ = done
    if row is None or row.token != flight.token or row.attempt_count != flight.number:
        return Settled(done, None)
    error = reply.error
    if row.event == Event.TEST:  # sent once, and no sign of health either way
        return Settled(done, DeliveryStatus.DELIVERED if error is None else DeliveryStatus.FAILED)
    before = health.pace
    if error is not ErrorClass.INTERNAL:  # our own fault says nothing of the endpoint
        health.note(done, now)
    if error is None:
        return Settled(done, DeliveryStatus.DELIVERED)
    if row.cancel_requested:
        return Settled(done, DeliveryStatus.CANCELLED)
    if health.is_disabled:
        return Settled(done, DeliveryStatus.PENDING, now)  # held, with no retry used up
    return _after_failure(done, row, before, now, steps)


def _after_failure(done: Done, row: Any, before: Pace, now: Micros, steps: Sequence[float]) -> Settled:
    """The schedule goes on by a step, or is at its end; a probe of an open circuit has a rule of its own."""
    if before.wait_began_at is not None:
        waits_since = max(row.since, before.wait_began_at) if before.ends_waits else now
        return _after_a_probe(done, waits_since, now, steps)
    due_at = retry_at(now, row.step, steps, retry_after=done.reply.retry_after, dice=done.dice)
    if due_at is None:
        return Settled(done, DeliveryStatus.FAILED)
    return Settled(done, DeliveryStatus.PENDING, due_at, retries_used=1)


def _after_a_probe(done: Done, waits_since: Micros, now: Micros, steps: Sequence[float]) -> Settled:
    """A failure while the circuit is open uses up no retry; the row goes to the end of its queue.

    What has waited behind it for twice the schedule's length by then fails. What came before the endpoint was
    blocked does not count: a pause may have held the row for weeks, and resuming closes the circuit. A
    recovery of less than an hour does: else an endpoint that flaps would keep its queue for ever.
    """
    if now - waits_since > longest_wait(steps):
        reason = clean(f"{BLOCKED_TOO_LONG} ({error_text(done.reply)})")
        return Settled(done, DeliveryStatus.FAILED, reason=reason)
    asked = retry_after_seconds(done.reply.retry_after, now) or 0.0
    wait = round(max(min(asked, max(steps)), 0.0) * SECOND)
    return Settled(done, DeliveryStatus.PENDING, now + wait)


def _save_healths(tx: Tx, healths: Mapping[str, Health], now: Micros) -> None:
    """Write what the answers have changed, and give up the endpoints that they say are gone."""
    changed = {
        endpoint_id: (health.pace, health.error)
        for endpoint_id, health in healths.items()
        if health.error is not None or health.pace != endpoints.pace_of(health.row)
    }
    endpoints.save_paces(tx, changed)
    for endpoint_id, health in sorted(healths.items()):
        if health.given_up is not None and health.row.status != EndpointStatus.DISABLED:
            endpoints.disable(tx, endpoint_id, health.given_up, now)


def _turn_of(health: Health) -> Turn | None:
    if health.given_up is not None and health.row.status != EndpointStatus.DISABLED:
        return Turn(health.row.id, "disabled", health.given_up)
    was_open, is_open = health.row.opened_at is not None, health.pace.is_open
    if is_open and not was_open:
        return Turn(health.row.id, "open", health.error or "")
    return Turn(health.row.id, "closed", "") if was_open and not is_open else None
