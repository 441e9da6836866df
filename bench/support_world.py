"""What a dispatcher finds in its database: endpoints, and deliveries to them.

Rows go straight into the tables, as the API and the poller would leave them.
"""

import base64
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text, update

from relay.common.ids import RANDOM_BYTES, make_id
from relay.common.states import DeliveryStatus, JobStatus, WatchStatus
from relay.common.time import Micros
from relay.db.engine import Store, Tx
from relay.db.statements import insert_rows
from relay.db.tables import Attempt, Delivery, Endpoint, Job, Subscriber, Watch
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoints
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets

MASTER_KEY = b"b" * 32
MASTER_KEY_TEXT = base64.b64encode(MASTER_KEY).decode()
ROWS_AT_ONCE = 1000
DATA = json.dumps(
    {
        "OrigASRData": {
            "Duration": "30016",
            "AsrTextList": [
                {
                    "StartTime": at,
                    "EndTime": at + 900,
                    "Text": "hello, good day",
                    "ChannelId": 0,
                    "SpeechRate": 85,
                }
                for at in range(0, 17_000, 1000)
            ],
        }
    },
    separators=(",", ":"),
)  # makes a body of 2 KB


class World:
    """One subscriber of a migrated database."""

    def __init__(self, database_url: str) -> None:
        self.store = Store(database_url)
        self.subscriber_id = self.new_id("sub")
        self._jobs = 0
        self.store.write(self._subscribe)

    def new_id(self, prefix: str) -> str:
        """A new id, as production makes them."""
        return make_id(prefix, now(), os.urandom(RANDOM_BYTES))

    def _subscribe(self, tx: Tx) -> None:
        row = {"id": self.subscriber_id, "name": self.subscriber_id, "created_at": now()}
        insert_rows(tx, Subscriber, [row])
        secrets.create(tx, self.subscriber_id, None, Encryption([MASTER_KEY]), now(), self.new_id)

    def add_endpoints(self, urls: Sequence[str], *, warmed_up: bool, max_in_flight: int = 10) -> list[str]:
        """New endpoints that wait for `release`; warmed up ones may use all their slots at once."""
        rows: list[dict[str, Any]] = []
        for url in urls:
            row = endpoints.new_row(
                self.new_id("ep"), self.subscriber_id, url, now(), max_in_flight=max_in_flight
            )
            rows.append(row | {"warmed_up": 1, "concurrency_limit": max_in_flight} if warmed_up else row)
        self.store.write(insert_rows, Endpoint, rows)
        return [row["id"] for row in rows]

    def fill(self, endpoint_ids: Sequence[str], count: int) -> None:
        """Deliveries due now, one job each, spread over the endpoints in order; activates none."""
        for first in range(0, count, ROWS_AT_ONCE):
            numbers = range(first, min(first + ROWS_AT_ONCE, count))
            owners = [endpoint_ids[number % len(endpoint_ids)] for number in numbers]
            self.store.write(self._insert, owners, now(), activate=False)

    def enqueue(self, endpoint_ids: Sequence[str], due_at: Micros) -> list[str]:
        """One delivery to each endpoint, in one transaction, as after a poll; returns their ids."""
        return self.store.write(self._insert, endpoint_ids, due_at, activate=True)

    def _insert(self, tx: Tx, owners: Sequence[str], due_at: Micros, *, activate: bool) -> list[str]:
        jobs, watches, pending = self._rows(owners, due_at)
        insert_rows(tx, Job, jobs)
        insert_rows(tx, Watch, watches)
        if activate:
            endpoints.lock_in_order(tx, owners)
            deliveries.enqueue(tx, pending, due_at)
        else:
            deliveries.insert(tx, pending)
        return [row["id"] for row in pending]

    def _rows(self, owners: Sequence[str], due_at: Micros) -> tuple[list[dict[str, Any]], ...]:
        first = self._jobs + 1
        self._jobs += len(owners)
        jobs = [_job(number, due_at) for number in range(first, self._jobs + 1)]
        watches = [self._watch(job["id"], owner, due_at) for job, owner in zip(jobs, owners, strict=True)]
        pending = [self._delivery(watch, due_at) for watch in watches]
        return jobs, watches, pending

    def _watch(self, job: int, owner: str, at: Micros) -> dict[str, Any]:
        return {
            "id": self.new_id("wat"),
            "subscriber_id": self.subscriber_id,
            "job": job,
            "endpoint_id": owner,
            "events": "ai_job.success,ai_job.fail",
            "user_metadata": '{"order":"A-1017"}',
            "status": WatchStatus.SUCCESS,
            "missing_base": 0,
            "created_at": at,
            "expires_at": at,
            "finished_at": at,
        }

    def _delivery(self, watch: dict[str, Any], due_at: Micros) -> dict[str, Any]:
        return deliveries.new_row(
            self.new_id("msg"),
            subscriber_id=self.subscriber_id,
            watch_id=watch["id"],
            endpoint_id=watch["endpoint_id"],
            event="ai_job.success",
            payload_bytes=len(DATA) + 512,
            now=due_at,
        )

    def analyse(self) -> None:
        """Leave the database as after use: with statistics, and nothing left to clean up."""
        with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self.store.dialect.name == "postgresql":
                connection.execute(text("VACUUM (ANALYZE)"))
            else:
                connection.execute(text("ANALYZE"))

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()


def _job(number: int, at: Micros) -> dict[str, Any]:
    return {
        "id": number,
        "source": "default",
        "job_id": f"{number:032x}",
        "status": JobStatus.SUCCESS,
        "type": "AIVideoTag",
        "code": "0",
        "message": "OK",
        "media_id": f"{number:032x}",
        "creation_time": "2026-01-02T03:04:05Z",
        "complete_time": "2026-01-02T03:04:35Z",
        "data": DATA,
        "data_bytes": len(DATA),
        "data_is_json": 1,
        "created_at": at,
        "finished_at": at,
    }


def now() -> Micros:
    """This machine's time, which is the database's too."""
    return time.time_ns() // 1000


def release(store: Store, *, behaviour: str | None = None) -> None:
    """Activate endpoints with pending deliveries; `behaviour` replaces that of their URLs."""
    values: dict[str, Any] = {"ready_at": now()}
    if behaviour is not None:
        values["url"] = func.replace(Endpoint.url, "/0/", f"/{behaviour}/")
    store.write(lambda tx: tx.execute(update(Endpoint).values(values)))


def all_done(store: Store) -> bool:
    """Whether no endpoint has a pending delivery: one index lookup, cheap to repeat."""
    return store.read(
        lambda tx: tx.scalar(select(Endpoint.id).where(Endpoint.ready_at.is_not(None)).limit(1)) is None
    )


def recorded(store: Store) -> int:
    """How many attempts are on record."""
    return store.read(lambda tx: tx.scalar(select(func.count()).select_from(Attempt)) or 0)


def span(store: Store) -> tuple[int, float]:
    """How many were delivered at the first attempt, and the seconds from first start to result.

    Raises:
        RuntimeError: something else than one successful attempt of each delivery is on record.
    """

    def look(tx: Tx) -> tuple[int, float]:
        delivered, last = tx.execute(
            select(func.count(), func.max(Delivery.finished_at)).where(
                Delivery.status == DeliveryStatus.DELIVERED, Delivery.attempt_count == 1
            )
        ).one()
        kept, first = tx.execute(
            select(func.count(), func.min(Attempt.started_at)).where(Attempt.response_body.is_not(None))
        ).one()
        pending = tx.scalar(select(func.count()).select_from(Delivery)) or 0
        if not delivered == kept == pending or first is None or last is None:
            raise RuntimeError(
                f"of {pending} deliveries {delivered} were delivered at once, {kept} answers kept"
            )
        return delivered, (last - first) / 1e6

    return store.read(look)
