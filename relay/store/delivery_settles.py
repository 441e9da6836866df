"""The settle of attempts: each row changes only while the token of its claim still stands.

A batch locks and reads its rows, parts the live from the stale, and writes the live: an attempt each, and
delivered, due later, failed or cancelled. A late process can't overwrite its successor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, null, select, update

from relay.core.records import Micros, Reply
from relay.core.schedule import Pace, retry_at
from relay.core.states import DeliveryStatus
from relay.store import endpoints
from relay.store.engine import Tx, among, insert_rows, lock, update_rows
from relay.store.tables import Attempt, Delivery


@dataclass(frozen=True, slots=True)
class Done:
    """An attempt that has ended: whose claim it was, what came of it, and the id and dice for its record."""

    delivery_id: str
    token: str
    number: int
    endpoint_id: str
    reply: Reply
    started_at: Micros
    attempt_id: str
    dice: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settle made of one attempt; `status` None: the claim was no longer ours, nothing was written."""

    done: Done
    status: DeliveryStatus | None
    next_attempt_at: Micros | None = None


def settle(tx: Tx, batch: Sequence[Done], *, now: Micros, steps: Sequence[float]) -> list[Settled]:
    """Record a batch of attempts; `steps` is the retry schedule in seconds."""
    owners = endpoints.lock_in_order(tx, (done.endpoint_id for done in batch))
    rows = _lock(tx, [done.delivery_id for done in batch])
    settled = [_judge(done, rows.get(done.delivery_id), now, steps) for done in batch]
    live = [one for one in settled if one.status is not None]
    _write(tx, live, now)
    insert_rows(tx, Attempt, [_attempt(one.done) for one in live])
    endpoints.save_paces(tx, _new_paces(owners, live, now))
    endpoints.look_again(tx, {one.done.endpoint_id for one in live}, now)
    return settled


def release(tx: Tx, claims: Sequence[tuple[str, str, str]], now: Micros) -> None:
    """Give back claims that were never sent, as if they had not been made.

    Each is (delivery id, token, endpoint id).
    """
    owners = sorted({endpoint_id for _, _, endpoint_id in claims})
    endpoints.lock_in_order(tx, owners)
    for delivery_id, token, _ in sorted(claims):
        tx.execute(
            update(Delivery)
            .where(Delivery.id == delivery_id, Delivery.token == token)
            .values(due_at=now, token=null(), attempt_count=Delivery.attempt_count - 1)
        )
    endpoints.look_again(tx, owners, now)


def _lock(tx: Tx, ids: Sequence[str]) -> dict[str, Any]:
    columns = (Delivery.id, Delivery.token, Delivery.attempt_count, Delivery.step, Delivery.cancel_requested)
    rows = tx.execute(lock(select(*columns).where(among(tx, Delivery.id, sorted(ids))).order_by(Delivery.id)))
    return {row.id: row for row in rows}


def _judge(done: Done, row: Any, now: Micros, steps: Sequence[float]) -> Settled:
    """Delivered, due later, failed or cancelled; None where another claim has followed ours."""
    if row is None or row.token != done.token or row.attempt_count != done.number:
        return Settled(done, None)
    if done.reply.error is None:
        return Settled(done, DeliveryStatus.DELIVERED)
    if row.cancel_requested:
        return Settled(done, DeliveryStatus.CANCELLED)
    due_at = retry_at(now, row.step, steps, retry_after=done.reply.retry_after, dice=done.dice)
    if due_at is None:
        return Settled(done, DeliveryStatus.FAILED)
    return Settled(done, DeliveryStatus.PENDING, due_at)


def _write(tx: Tx, live: Sequence[Settled], now: Micros) -> None:
    delivered = [one.done.delivery_id for one in live if one.status is DeliveryStatus.DELIVERED]
    if delivered:
        tx.execute(
            update(Delivery)
            .where(among(tx, Delivery.id, sorted(delivered)))
            .values(
                status=DeliveryStatus.DELIVERED,
                due_at=null(),
                token=null(),
                lost_count=0,
                delivered_at=now,
                finished_at=now,
                last_error=null(),
            )
        )
    statement = (
        update(Delivery)
        .where(Delivery.id == bindparam("row"))
        .values(
            status=bindparam("new_status"),
            due_at=bindparam("new_due"),
            token=null(),
            lost_count=0,
            step=Delivery.step + bindparam("steps_used"),
            finished_at=bindparam("ended", type_=BigInteger),
            last_error=bindparam("error"),
        )
    )
    others = [_row_of(one, now) for one in live if one.status is not DeliveryStatus.DELIVERED]
    update_rows(tx, statement, sorted(others, key=lambda row: str(row["row"])))


def _row_of(one: Settled, now: Micros) -> dict[str, Any]:
    pending = one.status is DeliveryStatus.PENDING
    return {
        "row": one.done.delivery_id,
        "new_status": one.status,
        "new_due": one.next_attempt_at,
        "steps_used": int(pending),
        "ended": None if pending else now,
        "error": error_text(one.done.reply),
    }


def error_text(reply: Reply) -> str | None:
    """The class of a failure and its sentence, as `last_error` shows them."""
    return None if reply.error is None else f"{reply.error}: {reply.detail}"[:500]


def _attempt(done: Done) -> dict[str, Any]:
    reply = done.reply
    return {
        "delivery_id": done.delivery_id,
        "number": done.number,
        "id": done.attempt_id,
        "started_at": done.started_at,
        "duration": reply.duration,
        "status_code": reply.status_code,
        "error": reply.error,
        "detail": reply.detail[:500] if reply.detail else None,
        "response_body": printable(reply.body) if reply.body else None,
    }


def printable(body: bytes) -> str:
    """A response's bytes as text: what is not UTF-8 is shown as escapes; so is NUL, for PostgreSQL."""
    return body.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _new_paces(
    owners: Mapping[str, Any], live: Sequence[Settled], now: Micros
) -> dict[str, tuple[Pace, str | None]]:
    """Each endpoint's pace after its attempts in the order in which they ended; only those that changed."""
    paces: dict[str, tuple[Pace, str | None]] = {}
    for one in live:
        owner = owners[one.done.endpoint_id]
        pace, error = paces.get(owner.id, (endpoints.pace_of(owner), None))
        if one.done.reply.error is None:
            paces[owner.id] = (pace.after_success(owner.max_in_flight), error)
        else:
            paces[owner.id] = (pace.after_failure(now), error_text(one.done.reply))
    return {
        endpoint_id: (pace, error)
        for endpoint_id, (pace, error) in paces.items()
        if error is not None or pace != endpoints.pace_of(owners[endpoint_id])
    }
