"""Deletes old finished records in small batches, children before parents.

Ids are UUIDv7, so "created before" is a range of the primary key and needs no index of its own.
Nothing pending, leased, held or waiting is ever deleted: those rows have `due_at` set.
"""

from typing import Any

from sqlalchemy import delete, or_, select

from relay.common.ids import first_id
from relay.common.time import US_PER_SECOND, Micros
from relay.db.engine import Tx
from relay.db.statements import among, lock
from relay.db.tables import (
    Attempt,
    BulkRetry,
    Delivery,
    Endpoint,
    IdempotentAnswer,
    Job,
    Listing,
    SigningSecret,
    Watch,
)

BATCH = 500
KEEP_KEYS: Micros = 86_400 * US_PER_SECOND  # a day, whatever the retention is


def batch(tx: Tx, now: Micros, retention: Micros) -> dict[str, int]:
    """Delete at most a batch of each table's rows that ended before the retention; counts by table.

    The answers to Idempotency-Keys are kept for a day at least, as callers are promised.
    """
    before = now - retention
    keys_before = now - max(retention, KEEP_KEYS)
    return {
        "deliveries": _delete(tx, Delivery, *_old_deliveries(before), parts=Attempt.delivery_id),
        "watches": _delete(tx, Watch, *_old_watches(before)),
        "jobs": _delete(tx, Job, *_old_jobs(tx, before)),
        "idempotent_answers": _delete(tx, IdempotentAnswer, IdempotentAnswer.created_at < keys_before),
        "bulk_retries": _delete(tx, BulkRetry, BulkRetry.due_at.is_(None), BulkRetry.created_at < before),
        "signing_secrets": _delete(tx, SigningSecret, _old_secrets(before)),
        "endpoints": _delete(tx, Endpoint, *_old_endpoints(before)),
    }


def _delete(tx: Tx, table: Any, *conditions: Any, parts: Any = None) -> int:
    """Lock a batch of rows, passing over locked ones, and delete what still meets the conditions.

    The conditions are checked again because the first read is older than the locks: a delivery may
    just have been made pending again by hand, a job may just have been given a watch. Rows that
    refer to them in the column `parts` go with them.
    """
    key = table.__table__.primary_key.columns[0]
    keys = list(tx.scalars(lock(select(key).where(*conditions).order_by(key).limit(BATCH), skip=True)))
    if keys and parts is not None:
        keys = list(tx.scalars(select(key).where(among(tx, key, keys), *conditions)))
        tx.execute(delete(parts.class_).where(among(tx, parts, keys)))
    if not keys:
        return 0
    return tx.execute(delete(table).where(among(tx, key, keys), *conditions)).rowcount


def _old_deliveries(before: Micros) -> tuple[Any, ...]:
    """Their listings go with them, by the foreign key's cascade."""
    return (Delivery.id < first_id("msg", before), Delivery.due_at.is_(None), Delivery.finished_at < before)


def _old_watches(before: Micros) -> tuple[Any, ...]:
    pending = select(Listing.delivery_id).where(Listing.watch_id == Watch.id).exists()
    return (Watch.id < first_id("wat", before), Watch.due_at.is_(None), Watch.finished_at < before, ~pending)


def _old_jobs(tx: Tx, before: Micros) -> tuple[Any, ...]:
    """Jobs without a watch. Keys count up, so those before the first newer one are a range."""
    newer = tx.scalar(select(Job.id).where(Job.created_at >= before).order_by(Job.id).limit(1))
    watched = select(Watch.id).where(Watch.job == Job.id).exists()
    in_range = () if newer is None else (Job.id < newer,)
    return (*in_range, Job.created_at < before, Job.due_at.is_(None), ~watched)


def _old_secrets(before: Micros) -> Any:
    """Those that ran out, and those of endpoints that are about to go: nothing is left to sign."""
    gone = select(Endpoint.id).where(*_deleted_and_unused(before))
    return or_(SigningSecret.expires_at < before, SigningSecret.endpoint_id.in_(gone))


def _old_endpoints(before: Micros) -> tuple[Any, ...]:
    signed = select(SigningSecret.id).where(SigningSecret.endpoint_id == Endpoint.id).exists()
    return (*_deleted_and_unused(before), ~signed)


def _deleted_and_unused(before: Micros) -> tuple[Any, ...]:
    """Endpoints that were deleted by hand, when nothing refers to them any more."""
    pending = select(Listing.delivery_id).where(Listing.endpoint_id == Endpoint.id).exists()
    watched = select(Watch.id).where(Watch.endpoint_id == Endpoint.id).exists()
    return (Endpoint.deleted_at < before, ~pending, ~watched)
