"""Notifies subscribers of disabled endpoints, at those of their endpoints with `notices`.

Recording the result that disables an endpoint only marks it: the webhook to another endpoint is
enqueued in a transaction of its own, so that locks keep their order.
"""

import json
from typing import Any

from sqlalchemy import select

from relay.common.events import ENDPOINT_DISABLED
from relay.common.ids import NewId
from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx
from relay.db.tables import Endpoint
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoint_moves, endpoints


def pending(tx: Tx) -> list[str]:
    """Disabled endpoints of which their subscribers are not notified yet."""
    return list(
        tx.scalars(
            select(Endpoint.id).where(Endpoint.notice_at.is_not(None)).order_by(Endpoint.notice_at).limit(10)
        )
    )


def enqueue(tx: Tx, endpoint_id: str, now: Micros, new_id: NewId) -> int:
    """Enqueue `endpoint.disabled` to the other endpoints with `notices`; returns how many."""
    subscriber_id = tx.scalar(select(Endpoint.subscriber_id).where(Endpoint.id == endpoint_id))
    listeners = list(
        tx.scalars(
            select(Endpoint.id).where(
                Endpoint.subscriber_id == subscriber_id,
                Endpoint.notices == 1,
                Endpoint.id != endpoint_id,
                Endpoint.deleted_at.is_(None),
            )
        )
    )
    locked = endpoints.lock_in_order(tx, [endpoint_id, *listeners])
    row = tx.execute(select(Endpoint.__table__).where(Endpoint.id == endpoint_id)).one_or_none()
    if row is None or row.notice_at is None:
        return 0
    content = json.dumps(_content(row), ensure_ascii=False, separators=(",", ":"))
    rows = [
        deliveries.new_row(
            new_id("msg"),
            subscriber_id=row.subscriber_id,
            watch_id=None,
            endpoint_id=listener,
            event=ENDPOINT_DISABLED.name,
            payload_bytes=len(content),
            now=now,
        )
        | {"content": content}
        for listener in listeners
        if locked[listener].deleted_at is None
    ]
    deliveries.enqueue(tx, rows, now)
    endpoint_moves.note_notified(tx, endpoint_id)
    return len(rows)


def _content(row: Any) -> dict[str, Any]:
    return {
        "endpoint_id": row.id,
        "description": row.description,
        "reason": row.disabled_reason,
        "disabled_at": rfc3339(row.notice_at),
        "failing_since": rfc3339(row.failing_since) if row.failing_since is not None else None,
        "last_error": row.last_error,
    }
