"""A small world at the level of the store: subscribers, watches and deliveries, without HTTP."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select, update

from relay.common.ids import NewId
from relay.common.states import ErrorClass, JobStatus, WatchStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Attempt, Delivery, Endpoint, Job, Subscriber, Watch
from relay.deliveries.rules.attempts import AttemptResult
from relay.deliveries.rules.retry_policy import Decision, RetryPolicy
from relay.deliveries.sql import delivery_claims, delivery_results
from relay.deliveries.sql.delivery_claims import Claim
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery
from relay.deliveries.sql.delivery_results import RecordedBatch
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.jobs.sql import jobs, moves
from relay.provider.source import JobReport
from relay.sending.rules.outbound import Reply
from relay.watches import registration
from relay.watches.registration import Registered, WatchRequest
from relay.watches.sql import watches
from relay.watches.sql.watches import Ending
from tests.support.database import id_maker

ALL_EVENTS = "ai_job.success,ai_job.fail,ai_job.missing,watch.expired"
LEASE = 60 * US_PER_SECOND
AMPLE = ClaimCapacity(slots=1000, cold_slots=1000, payload_bytes=1 << 27)
RETENTION = 30 * 86_400 * US_PER_SECOND
POLICY = RetryPolicy(delays=(5.0, 300.0, 1800.0), longest_hold=RETENTION)


def fresh_job_id() -> str:
    return secrets.token_hex(16)


@dataclass
class World:
    """One subscriber of a database, with a clock that moves only in `later`."""

    store: Store
    now: Micros = 1_700_000_000 * US_PER_SECOND
    subscriber_id: str = ""
    new_id: NewId = field(init=False)

    def __post_init__(self) -> None:
        self.new_id = id_maker(lambda: self.now)
        self.subscriber_id = self.new_subscriber()

    def new_subscriber(self) -> str:
        subscriber_id = self.new_id("sub")
        row = {"id": subscriber_id, "name": subscriber_id, "created_at": self.now}
        self.store.write(lambda tx: tx.execute(insert(Subscriber), row))
        return subscriber_id

    def later(self, seconds: float) -> Micros:
        self.now += round(seconds * US_PER_SECOND)
        return self.now

    def request(self, job_id: str, url: str = "https://example.com/hook", **changes: Any) -> WatchRequest:
        values: dict[str, Any] = {
            "job_id": job_id,
            "endpoint_id": None,
            "endpoint_url": url,
            "query": None,
            "events": ALL_EVENTS,
            "metadata": "{}",
            "timeout": 86_400,
        }
        return WatchRequest(**(values | changes))

    def register(self, *requests: WatchRequest) -> list[Registered]:
        return self.store.write(registration.register, self.subscriber_id, requests, self.now, self.new_id)

    def watch(self, job_id: str | None = None, url: str = "https://example.com/hook", **changes: Any) -> str:
        return self.register(self.request(job_id or fresh_job_id(), url, **changes))[0].watch_id

    def end_job(self, watch_id: str, data: str | None = '{"a":1}') -> None:
        """End the job of a watch as the answer to a poll does, without a poll."""
        self.end_jobs([watch_id], data)

    def end_jobs(self, watch_ids: Sequence[str], data: str | None = '{"a":1}') -> None:
        """End the jobs of these watches in one transaction."""

        def report(job_id: str) -> JobReport:
            is_json = data is not None
            return JobReport(
                job_id, JobStatus.SUCCESS, "AIVideoTag", "0", "OK", data=data, data_is_json=is_json
            )

        def work(tx: Tx) -> None:
            rows = tx.execute(
                select(Job.id, Job.job_id).join(Watch, Watch.job == Job.id).where(Watch.id.in_(watch_ids))
            ).all()
            keys = sorted(row.id for row in rows)
            jobs.lock_in_order(tx, keys)
            moves.finish(tx, {row.id: report(row.job_id) for row in rows}, self.now)
            ending = Ending(watches.waiting_for(tx, keys), WatchStatus.SUCCESS, "ai_job.success")
            watches.end(tx, [ending], self.now, self.new_id)

        self.store.write(work)

    def enqueue(self, count: int = 1, url: str = "https://example.com/hook") -> list[str]:
        """So many pending deliveries to one endpoint; returns their ids, oldest first."""
        registered = self.register(*(self.request(fresh_job_id(), url) for _ in range(count)))
        watch_ids = [watch.watch_id for watch in registered]
        self.end_jobs(watch_ids)
        of_them = select(Delivery.id).where(Delivery.watch_id.in_(watch_ids)).order_by(Delivery.id)
        return list(self.store.read(lambda tx: tx.scalars(of_them).all()))

    def claim(self, capacity: ClaimCapacity = AMPLE, token: str | None = None) -> Claim:
        return self.store.write(
            delivery_claims.claim,
            now=self.now,
            lease=LEASE,
            token=token or secrets.token_hex(16),
            capacity=capacity,
            policy=POLICY,
            new_id=self.new_id,
        )

    def record(
        self, claimed: Sequence[ClaimedDelivery], status: int | None = 200, error: ErrorClass | None = None
    ) -> list[Decision | None]:
        recorded = self.record_batch([self.result(one, status, error) for one in claimed])
        return [decision for _, decision in recorded.results]

    def record_batch(self, batch: Sequence[AttemptResult]) -> RecordedBatch:
        return self.store.write(delivery_results.record, batch, now=self.now, policy=POLICY)

    def result(
        self,
        delivery: ClaimedDelivery,
        status: int | None = 200,
        error: ErrorClass | None = None,
        retry_after: str | None = None,
    ) -> AttemptResult:
        detail = None if error is None else "it did not work"
        reply = Reply(delivery.id, status, error, detail, b"ok", 1000, retry_after)
        return AttemptResult(delivery.attempt(self.now), reply, self.new_id("att"), 0.5)

    def rows(self, table: Any, *conditions: Any) -> list[Any]:
        return list(self.store.read(lambda tx: tx.execute(select(table).where(*conditions)).all()))

    def delivery(self, delivery_id: str) -> Any:
        return self.rows(Delivery, Delivery.id == delivery_id)[0]

    def attempts(self, delivery_id: str) -> list[Any]:
        return sorted(self.rows(Attempt, Attempt.delivery_id == delivery_id), key=lambda row: row.number)

    def endpoint(self, url: str = "https://example.com/hook") -> Any:
        return self.rows(Endpoint, Endpoint.url == url, Endpoint.subscriber_id == self.subscriber_id)[0]

    def set_endpoint(self, url: str, **values: Any) -> None:
        self.store.write(
            lambda tx: tx.execute(
                update(Endpoint)
                .where(Endpoint.url == url, Endpoint.subscriber_id == self.subscriber_id)
                .values(**values)
            )
        )


class StillClock(Clock):
    """The world's clock, for parts that ask the database's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> Micros:
        return self._world.now


def random_bytes() -> bytes:
    return os.urandom(8)
