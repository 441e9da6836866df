"""What a settle leaves on record: the state of each delivery, and a row for each attempt.

`delivery_settles` judges; here is how its judgement is written.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, bindparam, null, update

from relay.common.states import DeliveryStatus
from relay.common.time import Micros
from relay.db.dialects import Dialect, dialect_of
from relay.db.engine import Tx
from relay.db.statements import insert_many, update_rows
from relay.db.tables import Attempt, Delivery
from relay.deliveries.rules.capacity import InFlightAttempt
from relay.sending.rules.outbound import Reply

BLOCKED_TOO_LONG = "blocked: its endpoint was not steady for twice the length of the retry schedule"


class Done(NamedTuple):
    """An attempt that has ended: whose it was, what came of it, and the id and dice for its record."""

    attempt: InFlightAttempt
    reply: Reply
    attempt_id: str
    rng: float


class Recorded(NamedTuple):
    """What a settle made of one attempt; `status` None: the claim was no longer ours, nothing was written.

    `retries_used` is 1 where the schedule went on by a step. `reason` is why it ends, where the
    attempt's own failure does not say so.
    """

    done: Done
    status: DeliveryStatus | None
    next_attempt_at: Micros | None = None
    retries_used: int = 0
    reason: str | None = None


def write(tx: Tx, live: Sequence[Recorded], now: Micros) -> None:
    """Write what became of these deliveries, whose endpoints are locked, and an attempt of each."""
    dialect = dialect_of(tx)
    delivered = [one.done.attempt.delivery_id for one in live if one.status is DeliveryStatus.DELIVERED]
    if delivered:
        ids = dialect.packed(sorted(delivered))
        tx.execute(_delivered_statement(dialect), {"ids": ids, "at": now})
    others = [_row_of(one, now) for one in live if one.status is not DeliveryStatus.DELIVERED]
    update_rows(tx, _OTHERS, sorted(others, key=lambda row: str(row["row"])))
    insert_many(tx, Attempt, ATTEMPT_COLUMNS, [_attempt(one.done) for one in live])


@cache
def _delivered_statement(dialect: Dialect) -> Any:
    at = bindparam("at", type_=BigInteger)
    return (
        update(Delivery)
        .where(dialect.listed(Delivery.id, "ids"))
        .values(status=DeliveryStatus.DELIVERED.value, due_at=null(), solo_at=null(), token=null())
        .values(lost_count=0, delivered_at=at, finished_at=at, last_error=null())
    )


_OTHERS = (
    update(Delivery)
    .where(Delivery.id == bindparam("row"))
    .values(
        status=bindparam("new_status"),
        due_at=bindparam("new_due"),
        solo_at=null(),
        token=null(),
        lost_count=0,
        retry_count=Delivery.retry_count + bindparam("steps_used"),
        finished_at=bindparam("ended", type_=BigInteger),
        last_error=bindparam("error"),
    )
)


def _row_of(one: Recorded, now: Micros) -> dict[str, Any]:
    pending = one.status is DeliveryStatus.PENDING
    return {
        "row": one.done.attempt.delivery_id,
        "new_status": one.status,
        "new_due": one.next_attempt_at,
        "steps_used": one.retries_used,
        "ended": None if pending else now,
        "error": one.reason or error_text(one.done.reply),
    }


def error_text(reply: Reply) -> str | None:
    """The class of a failure and its sentence, as `last_error` shows them."""
    return None if reply.error is None else clean(f"{reply.error}: {reply.detail}")


ATTEMPT_COLUMNS = (
    "delivery_id",
    "number",
    "id",
    "started_at",
    "duration",
    "status_code",
    "error",
    "detail",
    "response_body",
)


def _attempt(done: Done) -> tuple[Any, ...]:
    """An attempt's row, in the order of the columns."""
    attempt, reply = done.attempt, done.reply
    return (
        attempt.delivery_id,
        attempt.number,
        done.attempt_id,
        attempt.started_at,
        reply.duration,
        reply.status_code,
        reply.error,
        clean(reply.detail) if reply.detail else None,
        printable(reply.body) if reply.body else None,
    )


def clean(words: str) -> str:
    """A sentence as every database takes it."""
    return words.encode("utf-8", "replace").decode().replace("\0", "\\x00")[:500]


def printable(body: bytes) -> str:
    """A response's bytes as text: what is not UTF-8 is shown as escapes; so is NUL, for PostgreSQL."""
    return body.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
