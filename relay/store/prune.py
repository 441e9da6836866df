"""Deleting old finished records in small batches, children before parents.

Ids are UUIDv7, so "made before" is a range of the primary key and needs no index of its own. Nothing pending,
leased, held or waiting is ever deleted: those rows have `due_at` set.
"""

from typing import Any

from sqlalchemy import delete, select

from relay.core.ids import first_id
from relay.core.records import Micros
from relay.store.engine import Tx, among
from relay.store.tables import Delivery, Endpoint, IdempotentAnswer, Job, SigningSecret, Watch

BATCH = 500
DAY: Micros = 86_400_000_000


def batch(tx: Tx, before: Micros) -> dict[str, int]:
    """Delete at most a batch of each table's rows that ended before this moment; counts by table."""
    return {
        "deliveries": _delete(tx, Delivery, _old_deliveries(before)),
        "watches": _delete(tx, Watch, _old_watches(before)),
        "jobs": _delete(tx, Job, _old_jobs(before)),
        "idempotent_answers": _delete(
            tx,
            IdempotentAnswer,
            select(IdempotentAnswer.key).where(IdempotentAnswer.created_at < before),
        ),
        "signing_secrets": _delete(
            tx, SigningSecret, select(SigningSecret.id).where(SigningSecret.expires_at < before)
        ),
        "endpoints": _delete(tx, Endpoint, _old_endpoints(before)),
    }


def _delete(tx: Tx, table: Any, old: Any) -> int:
    key = table.__table__.primary_key.columns[0]
    keys = list(tx.scalars(old.order_by(key).limit(BATCH)))
    if keys:
        tx.execute(delete(table).where(among(tx, key, keys)))
    return len(keys)


def _old_deliveries(before: Micros) -> Any:
    """Their attempts go with them, by the foreign key's cascade."""
    return select(Delivery.id).where(
        Delivery.id < first_id("msg", before), Delivery.due_at.is_(None), Delivery.finished_at < before
    )


def _old_watches(before: Micros) -> Any:
    owed = select(Delivery.id).where(Delivery.watch_id == Watch.id).exists()
    return select(Watch.id).where(
        Watch.id < first_id("wat", before), Watch.due_at.is_(None), Watch.finished_at < before, ~owed
    )


def _old_jobs(before: Micros) -> Any:
    watched = select(Watch.id).where(Watch.job == Job.id).exists()
    return select(Job.id).where(Job.created_at < before, Job.due_at.is_(None), ~watched)


def _old_endpoints(before: Micros) -> Any:
    """Only those that were deleted by hand, when nothing refers to them any more."""
    owed = select(Delivery.id).where(Delivery.endpoint_id == Endpoint.id).exists()
    watched = select(Watch.id).where(Watch.endpoint_id == Endpoint.id).exists()
    signed = select(SigningSecret.id).where(SigningSecret.endpoint_id == Endpoint.id).exists()
    return select(Endpoint.id).where(Endpoint.deleted_at < before, ~owed, ~watched, ~signed)
