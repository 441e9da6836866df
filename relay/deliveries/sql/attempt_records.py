"""The rows of attempts: those that have ended, and those that were lost with their process."""

from collections.abc import Iterable, Sequence
from typing import Any

from relay.common.ids import NewId
from relay.common.states import ErrorClass
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import insert_many, insert_rows
from relay.db.tables import Attempt
from relay.deliveries.rules.attempts import AttemptResult
from relay.deliveries.rules.retry_policy import LOST
from relay.sending.rules.outbound import Reply

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


def insert(tx: Tx, results: Sequence[AttemptResult]) -> None:
    """Insert the attempts of a batch."""
    insert_many(tx, Attempt, ATTEMPT_COLUMNS, [_columns(result) for result in results])


def _columns(result: AttemptResult) -> tuple[Any, ...]:
    attempt, reply = result.attempt, result.reply
    return (
        attempt.delivery_id,
        attempt.number,
        result.attempt_id,
        attempt.started_at,
        reply.duration,
        reply.status_code,
        reply.error,
        clean(reply.detail) if reply.detail else None,
        printable(reply.body) if reply.body else None,
    )


def insert_lost(tx: Tx, rows: Iterable[Any], now: Micros, new_id: NewId) -> None:
    """Insert the lost attempt of each delivery row (`id`, `attempt_count`) whose lease ran out."""
    lost = [
        {
            "delivery_id": row.id,
            "number": row.attempt_count,
            "id": new_id("att"),
            "started_at": now,
            "error": ErrorClass.LOST,
            "detail": LOST,
        }
        for row in rows
    ]
    insert_rows(tx, Attempt, lost)


def error_text(reply: Reply) -> str | None:
    """The class of a failure and its sentence, as `last_error` shows them."""
    return None if reply.error is None else clean(f"{reply.error}: {reply.detail}")


def clean(words: str) -> str:
    """A sentence as every database takes it."""
    return words.encode("utf-8", "replace").decode().replace("\0", "\\x00")[:500]


def printable(body: bytes) -> str:
    """A response's bytes as text, with escapes for what is not UTF-8, and for NUL (PostgreSQL)."""
    return body.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
