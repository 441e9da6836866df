"""The settle of attempts: each row changes only while the token of its claim still stands.

A batch locks its endpoints, reads its rows, parts the live from the stale, and has the live written
(`delivery_records`): an attempt each, and delivered, due later, failed or cancelled. A late process
can't overwrite its successor. Whoever changes a delivery holds the lock of its endpoint, so the
rows need none of their own; but tests, which are claimed whatever their endpoint's state is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import case, null, select, update

from relay.common.states import DeliveryStatus, DisabledReason, EndpointStatus, ErrorClass, Event
from relay.common.time import US_PER_SECOND, Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import lock
from relay.db.tables import Delivery
from relay.deliveries.rules.retry_policy import longest_wait, retry_after_seconds, retry_at
from relay.deliveries.sql import attempt_records
from relay.deliveries.sql.attempt_records import BLOCKED_TOO_LONG, Done, Recorded, clean, error_text
from relay.endpoints.rules.circuit_breaker import EndpointHealth, why_disable
from relay.endpoints.sql import endpoints


@dataclass(slots=True)
class HealthUpdate:
    """An endpoint while a batch is settled: as the database has it, and as the batch's answers make it."""

    row: Any
    health: EndpointHealth
    error: str | None = None
    given_up: DisabledReason | None = None

    @property
    def is_disabled(self) -> bool:
        """Whether what it is owed is held, from before or by this batch."""
        return self.given_up is not None or self.row.status == EndpointStatus.DISABLED

    def note(self, done: Done, now: Micros) -> None:
        """Learn from one answer."""
        if done.reply.error is None:
            self.health = self.health.after_success(now, self.row.max_in_flight)
            return
        self.health = self.health.after_failure(now, started_at=done.attempt.started_at, rng=done.rng)
        self.error = error_text(done.reply)
        self.given_up = self.given_up or why_disable(self.health, now, done.reply.status_code)


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A change in an endpoint's health that people want to hear of."""

    endpoint_id: str
    became: Literal["open", "closed", "disabled"]
    detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a batch: each attempt, and how it changed the endpoints."""

    recorded: list[Recorded]
    changes: list[HealthChange]


def record(tx: Tx, batch: Sequence[Done], *, now: Micros, retry_delays: Sequence[float]) -> Batch:
    """Record a batch of attempts; `steps` is the retry schedule in seconds."""
    owners = endpoints.lock_in_order(tx, (done.attempt.endpoint_id for done in batch))
    healths = {
        endpoint_id: HealthUpdate(row, endpoints.health_of(row)) for endpoint_id, row in owners.items()
    }
    rows = _read(tx, [done.attempt.delivery_id for done in batch])
    recorded = [
        _record_one(
            done, rows.get(done.attempt.delivery_id), healths[done.attempt.endpoint_id], now, retry_delays
        )
        for done in batch
    ]
    live = [one for one in recorded if one.status is not None]
    attempt_records.write(tx, live, now)
    _save_healths(tx, healths, now)
    endpoints.recompute(tx, _to_recompute(live, healths, now), now)
    return Batch(recorded, [turn for health in healths.values() if (turn := _change_of(health)) is not None])


def _to_recompute(live: Sequence[Recorded], healths: Mapping[str, HealthUpdate], now: Micros) -> set[str]:
    """The endpoints whose next sending these may change: one that is ready stays it after a success."""
    stay = {
        endpoint_id
        for endpoint_id, health in healths.items()
        if health.row.ready_at is not None and health.row.ready_at <= now
    }
    failed = {one.done.attempt.endpoint_id for one in live if one.done.reply.error is not None}
    return failed | ({one.done.attempt.endpoint_id for one in live} - stay)


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
    endpoints.recompute(tx, owners, now)


def _read(tx: Tx, ids: Sequence[str]) -> dict[str, Any]:
    """The rows of a batch, whose endpoints are locked; tests among them are locked and read once more."""
    found = _rows(tx, _read_statement(dialect_of(tx)), ids)
    tests = [row.id for row in found.values() if row.event == Event.TEST]
    return found | (_rows(tx, lock(_read_statement(dialect_of(tx))), tests) if tests else {})


def _rows(tx: Tx, statement: Any, ids: Sequence[str]) -> dict[str, Any]:
    rows = tx.execute(statement, {"ids": dialect_of(tx).packed(sorted(ids))})
    return {row.id: row for row in rows.all()}


@cache
def _read_statement(dialect: Dialect) -> Any:
    columns = (
        Delivery.id,
        Delivery.event,
        Delivery.token,
        Delivery.attempt_count,
        Delivery.retry_count,
        Delivery.schedule_started_at,
        Delivery.cancel_requested,
    )
    return select(*columns).where(dialect.listed(Delivery.id, "ids")).order_by(Delivery.id)


def _record_one(
    done: Done, row: Any, health: HealthUpdate, now: Micros, retry_delays: Sequence[float]
) -> Recorded:
    """Judge one attempt by the state its endpoint was in, and let the endpoint learn from it."""
    attempt, reply, _, _ = done
    if row is None or row.token != attempt.token or row.attempt_count != attempt.number:
        return Recorded(done, None)
    error = reply.error
    if row.event == Event.TEST:  # sent once, and no sign of health either way
        return Recorded(done, DeliveryStatus.DELIVERED if error is None else DeliveryStatus.FAILED)
    before = health.health
    if error is not ErrorClass.INTERNAL:  # our own fault says nothing of the endpoint
        health.note(done, now)
    if error is None:
        return Recorded(done, DeliveryStatus.DELIVERED)
    if row.cancel_requested:
        return Recorded(done, DeliveryStatus.CANCELLED)
    if health.is_disabled:
        return Recorded(done, DeliveryStatus.PENDING, now)  # held, with no retry used up
    return _after_failure(done, row, before, now, retry_delays)


def _after_failure(
    done: Done, row: Any, before: EndpointHealth, now: Micros, retry_delays: Sequence[float]
) -> Recorded:
    """The schedule goes on by a step, or is at its end; a probe of an open circuit has a rule of its own."""
    if before.wait_began_at is not None:
        waits_since = max(row.schedule_started_at, before.wait_began_at) if before.ends_waits else now
        return _after_a_probe(done, waits_since, now, retry_delays)
    due_at = retry_at(now, row.retry_count, retry_delays, retry_after=done.reply.retry_after, rng=done.rng)
    if due_at is None:
        return Recorded(done, DeliveryStatus.FAILED)
    return Recorded(done, DeliveryStatus.PENDING, due_at, retries_used=1)


def _after_a_probe(done: Done, waits_since: Micros, now: Micros, retry_delays: Sequence[float]) -> Recorded:
    """A failure while the circuit is open uses up no retry; the row goes to the end of its queue.

    What has waited behind it for twice the schedule's length by then fails. What came before the
    endpoint was blocked does not count: a pause may have held the row for weeks, and resuming
    closes the circuit. A recovery of less than an hour does: else an endpoint that flaps would keep
    its queue for ever.
    """
    if now - waits_since > longest_wait(retry_delays):
        reason = clean(f"{BLOCKED_TOO_LONG} ({error_text(done.reply)})")
        return Recorded(done, DeliveryStatus.FAILED, reason=reason)
    asked = retry_after_seconds(done.reply.retry_after, now) or 0.0
    wait = round(max(min(asked, max(retry_delays)), 0.0) * US_PER_SECOND)
    return Recorded(done, DeliveryStatus.PENDING, now + wait)


def _save_healths(tx: Tx, healths: Mapping[str, HealthUpdate], now: Micros) -> None:
    """Write what the answers have changed, and give up the endpoints that they say are gone."""
    changed = {
        endpoint_id: (health.health, health.error)
        for endpoint_id, health in healths.items()
        if health.error is not None or health.health != endpoints.health_of(health.row)
    }
    endpoints.save_healths(tx, changed)
    for endpoint_id, health in sorted(healths.items()):
        if health.given_up is not None and health.row.status != EndpointStatus.DISABLED:
            endpoints.disable(tx, endpoint_id, health.given_up, now)


def _change_of(health: HealthUpdate) -> HealthChange | None:
    if health.given_up is not None and health.row.status != EndpointStatus.DISABLED:
        return HealthChange(health.row.id, "disabled", health.given_up)
    was_open, is_open = health.row.opened_at is not None, health.health.is_open
    if is_open and not was_open:
        return HealthChange(health.row.id, "open", health.error or "")
    return HealthChange(health.row.id, "closed", "") if was_open and not is_open else None
