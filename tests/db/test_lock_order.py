"""Locks are taken in one order, so that no two transactions wait for each other."""

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import update

from relay.common.states import JobStatus
from relay.db.engine import Store, Tx
from relay.db.tables import Job
from relay.endpoints.sql import endpoints
from tests.support.flow import World, fresh_job_id


def test_a_registration_locks_all_its_endpoints_at_once(
    own_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of watches on jobs that have ended, some well and some not: locking by outcome would be two orders."""
    world = World(own_store)
    job_ids = [fresh_job_id() for _ in range(2)]
    for job_id in job_ids:
        world.end_job(world.watch(job_id, "https://example.com/earlier"))
    failed = update(Job).where(Job.job_id == job_ids[1]).values(status=JobStatus.FAIL)
    own_store.write(lambda tx: tx.execute(failed))
    locked = watch_locks(monkeypatch)
    urls = ["https://example.com/a", "https://example.com/b"]
    world.register(*(world.request(job_id, url) for job_id, url in zip(job_ids, urls, strict=True)))
    first, *later = locked
    assert all(ids <= first for ids in later)


def watch_locks(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Grows by a set of ids whenever endpoints are locked."""
    locked: list[set[str]] = []
    lock_in_order = endpoints.lock_in_order

    def noting(tx: Tx, ids: Iterable[str]) -> dict[str, Any]:
        wanted = set(ids)
        if wanted:
            locked.append(wanted)
        return lock_in_order(tx, wanted)

    monkeypatch.setattr(endpoints, "lock_in_order", noting)
    return locked
