"""A database that a former code wrote goes on being used by this one (see `data/README.md`)."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, func, select, text

from relay.common.time import US_PER_SECOND
from relay.db import idempotency, migrate
from relay.db.dialects import driver_url
from relay.db.engine import Store, Tx
from relay.db.tables import ApiKey, Base, Delivery, Endpoint, Job, JobType, PollPolicy, Upstream, Watch
from relay.deliveries.sql import bulk_retries
from relay.endpoints.sql import endpoint_changes, endpoint_secrets
from relay.polling.sql import poll_claims
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import secrets, subscribers
from tests.support.database import KINDS, empty_database
from tests.support.flow import LEASE, World

DATA = Path(__file__).parent / "data"
FORMER = json.loads((DATA / "0004.json").read_text())


def restore(kind: str, url: str) -> None:
    """Run a dump's statements through the driver."""
    dump = (DATA / f"0004.{kind}.sql").read_text(encoding="utf-8")
    if kind == "sqlite":
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.executescript(dump)
        connection.close()
        return
    engine = create_engine(driver_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as session:
        for statement in filter(str.strip, dump.split(";\n")):
            session.exec_driver_sql(statement.replace("%", "%%"))
    engine.dispose()


class Former:
    """A restored database that was brought to the newest revision, and the names of its rows."""

    def __init__(self, kind: str, url: str) -> None:
        restore(kind, url)
        self.upgraded = migrate.upgrade(url)
        self.url = url
        self.rows: dict[str, Any] = FORMER[kind]
        self.store = Store(url)
        self.world = World(self.store, self.rows["now"])
        self.world.subscriber_id = self.rows["subscriber"]
        self.encryption = Encryption([b"k" * 32])

    def statuses(self, name: str) -> list[str]:
        """The statuses of the deliveries of this name."""
        return [str(self.world.delivery(delivery_id).status) for delivery_id in self.rows[name]]


@pytest.fixture(params=KINDS)
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Former]:
    with empty_database(request.param, tmp_path) as url:
        former = Former(request.param, url)
        yield former
        former.store.close()


def test_every_row_is_there_and_means_what_it_meant(former: Former) -> None:
    assert former.upgraded == ("0004", migrate.newest())
    assert migrate.differences(former.url) == []

    def count(tx: Tx) -> dict[str, int]:
        return {
            table.name: tx.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Base.metadata.sorted_tables
        }

    counts = former.store.read(count)
    assert counts.pop("subscribers") == former.rows["counts"].pop("subscribers") + 1  # the world's own
    assert counts == former.rows["counts"]

    assert_values(former)
    assert_secrets(former)


def assert_values(former: Former) -> None:
    """Values stand under the new names of their columns."""
    opened = former.world.endpoint("https://open.example/hook")
    assert (opened.concurrency_limit, opened.warmed_up, opened.probe_count) == (1, 0, 1)
    assert former.world.endpoint("https://done.example/hook").warmed_up == 1
    failed = former.world.delivery(former.rows["failed"][0])
    assert failed.retry_count == 3
    assert 0 < failed.schedule_started_at < former.rows["now"]
    marked = former.world.rows(Job, Job.provider_event_at.is_not(None))
    assert [(row.job_id, row.provider_event_polls) for row in marked] == [("former-hinted", 0)]
    keys = former.world.rows(ApiKey, ApiKey.subscriber_id == former.rows["subscriber"])
    prefixes = {former.rows["api_key"][:10], former.rows["revoked_key"][:10]}
    assert {row.key_prefix for row in keys} == prefixes
    assert [row.last_owner for row in former.world.rows(Upstream)] == [""]
    assert json.loads(former.world.rows(PollPolicy)[0].quotas) == {}
    assert json.loads(former.world.rows(JobType)[0].durations) == [12.5, 20.0]


def assert_secrets(former: Former) -> None:
    """Keys authenticate, secrets decrypt, an idempotent answer is answered again."""

    def owner(api_key: str) -> str | None:
        return former.store.read(subscribers.authenticate, subscribers.key_hash(api_key))

    rows = former.rows
    assert owner(rows["api_key"]) == rows["subscriber"]
    assert owner(rows["revoked_key"]) is None
    assert rows["secret"] == former.store.read(
        endpoint_secrets.current, rows["subscriber"], None, former.encryption
    )
    signing = former.store.read(secrets.signing, [rows["own_endpoint"]], rows["now"])[rows["own_endpoint"]]
    assert [former.encryption.decrypt(row.id, row.text) for row in signing] == rows["own_secrets"]
    (own,) = former.world.rows(Endpoint, Endpoint.id == rows["own_endpoint"])
    assert json.loads(former.encryption.decrypt(own.id, own.headers_sealed)) == {"X-Token": "of the former"}
    post = idempotency.keyed(rows["subscriber"], "POST", "/v1/watches", "former-key", b"{}")
    stored = former.store.write(idempotency.begin, post, rows["now"])
    assert stored is not None
    assert (stored.status, stored.text) == (201, '{"id": "wat_former"}')


def assert_waiting_watch_ends(former: Former) -> None:
    """A waiting watch ends with a delivery."""
    world, waiting = former.world, former.rows["waiting"]
    world.end_job(waiting)
    (watch,) = world.rows(Watch, Watch.id == waiting)
    assert (watch.status, watch.query) == ("success", "site=eu")
    (delivery,) = world.rows(Delivery, Delivery.watch_id == waiting)
    assert delivery.status == "pending"


def test_pending_deliveries_are_sent_and_a_lost_one_is_taken_over(former: Former) -> None:
    world, rows = former.world, former.rows
    (in_flight,) = rows["in_flight"]
    assert world.delivery(in_flight).token is not None
    world.later(LEASE / US_PER_SECOND + 1)
    claimed = world.claim()
    assert claimed.lost == 1
    taken = {delivery.id for delivery in claimed.taken}
    assert {*rows["pending"], *rows["in_flight"], rows["test"]} <= taken
    assert not taken & {*rows["held"], *rows["gone"], *rows["deleted"], *rows["done"]}
    world.record(claimed.taken)
    assert former.statuses("pending") == ["delivered", "delivered"]
    assert [row.error for row in world.attempts(in_flight)] == ["lost", "lost", None]


def test_held_deliveries_are_sent_after_a_resume_and_a_bulk_retry_goes_on(former: Former) -> None:
    world, rows = former.world, former.rows
    paused = world.endpoint("https://paused.example/hook").id
    former.store.write(endpoint_changes.resume, rows["subscriber"], paused, world.now)
    assert former.store.write(bulk_retries.work, world.now) == 3
    assert former.statuses("failed") == ["pending"] * 3
    taken = {delivery.id for delivery in world.claim().taken}
    assert {*rows["held"]} <= taken
    assert taken & {*rows["failed"]}
    assert_waiting_watch_ends(former)
    assert_marked_job_is_polled_first(former)


def assert_marked_job_is_polled_first(former: Former) -> None:
    """The job with a provider event is polled first."""
    former.world.later(5)
    claim = former.store.write(
        poll_claims.claim,
        source=LIST_AI_JOB,
        now=former.world.now,
        lease=LEASE,
        token="n" * 32,
        call_interval=US_PER_SECOND // 10,
    )
    assert claim.jobs[0].job_id == "former-hinted"


def test_the_newest_revision_goes_back_to_that_of_the_former_code(former: Former) -> None:
    """With all these rows in the tables, and forward again."""
    with migrate._alone(former.url) as connection:
        command.downgrade(migrate._config(connection), "0004")
        assert connection.execute(text("SELECT count(*) FROM deliveries WHERE step = 3")).scalar_one() == 3
    assert migrate.upgrade(former.url) == ("0004", migrate.newest())
    assert migrate.differences(former.url) == []
    assert former.statuses("done") == ["delivered"]
