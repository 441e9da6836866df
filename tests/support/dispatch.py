"""Dispatchers as real processes, and deliveries to real receivers, without web and poller."""

import random
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select, update

from relay.bootstrap import new_token
from relay.common.states import DeliveryStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.db.tables import Attempt, Delivery, Endpoint, Listing
from relay.deliveries.config import DeliveryConfig
from relay.deliveries.rules.retry_policy import RetryPolicy
from relay.endpoints.sql import endpoints
from relay.subscribers.encryption import Encryption
from relay.subscribers.sql import subscribers
from tests.support.flow import LEASE, RETENTION, World, fresh_job_id
from tests.support.processes import Relay, wait_until

ENCRYPTION = Encryption([b"m" * 32])  # of tests.support.processes.MASTER_KEY
NOWHERE = "http://127.0.0.1:1"
QUICK = {
    "RELAY_ATTEMPT_TIMEOUT": "2",
    "RELAY_LEASE_SECONDS": "17",
    "RELAY_RETRY_SCHEDULE": "0.2,0.2,0.2",
}


def delivery_config(clock: Clock, *, attempt_seconds: float = 1.0) -> DeliveryConfig:
    """The settings of a dispatcher whose parts run in the test's own process."""
    return DeliveryConfig(
        lease=LEASE,
        attempt_seconds=attempt_seconds,
        policy=RetryPolicy((1.0,), longest_hold=RETENTION),
        max_in_flight=100,
        user_agent="relay/test",
        new_id=clock.new_id,
        new_ids=clock.new_ids,
        new_token=new_token,
        rng=random.random,
    )


class Fleet:
    """One subscriber of a database, its deliveries, and dispatcher processes that send them."""

    def __init__(self, database_url: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.store = Store(database_url)
        self.clock = Clock(self.store)
        self.world = World(self.store, now=self.clock.now())
        self.relays: list[Relay] = []
        self._database_url = database_url
        self._folder = folder
        self._settings = settings
        made = self.store.write(subscribers.add, "fleet", ENCRYPTION, self.world.now, self.world.new_id)
        self.world.subscriber_id, self.secret, self.api_key = made.id, made.secret, made.api_key

    def relay(self, **settings: str) -> Relay:
        """Another machine of the fleet, on which nothing runs yet."""
        folder = self._folder / f"machine{len(self.relays)}"
        folder.mkdir()
        relay = Relay(self._database_url, NOWHERE, folder, {**self._settings, **settings})
        relay.api_key = self.api_key
        self.relays.append(relay)
        return relay

    def dispatcher(self, **settings: str) -> Relay:
        relay = self.relay(**settings)
        relay.start("dispatcher")
        return relay

    def enqueue(self, urls: Sequence[str], *, started: bool = True) -> list[str]:
        """Enqueue a delivery to each of these URLs, due now, in one transaction; their ids.

        Those that are not `started` wait for `start`.
        """
        self.world.now = self.clock.now()
        made = self.world.register(*(self.world.request(fresh_job_id(), url) for url in urls))
        ids = [one.watch_id for one in made]
        self.world.end_jobs(ids, data=None)
        if not started:
            self.store.write(lambda tx: tx.execute(update(Endpoint).values(ready_at=None)))
        rows = self.store.read(
            lambda tx: tx.execute(
                select(Delivery.watch_id, Delivery.id).where(Delivery.watch_id.in_(ids))
            ).all()
        )
        found = {row.watch_id: row.id for row in rows}
        return [found[watch_id] for watch_id in ids]

    def enqueue_backlog(self, urls: Sequence[str], each: int) -> None:
        """Enqueue a backlog to each of these URLs: so many deliveries (two at least) of one watch.

        They wait for `start`.
        """
        ids = self.enqueue(urls, started=False)
        listings = {row.delivery_id: row._asdict() for row in self.world.rows(Listing)}
        rows = [
            (row._asdict() | {"id": one}, listings[row.id] | {"delivery_id": one})
            for row in self.world.rows(Delivery, Delivery.id.in_(ids))
            for one in (self.world.new_id("msg") for _ in range(each - 1))
        ]

        def copy(tx: Tx) -> None:
            endpoints.lock_in_order(tx, {listing["endpoint_id"] for _, listing in rows})
            tx.execute(insert(Delivery), [delivery for delivery, _ in rows])
            tx.execute(insert(Listing), [listing for _, listing in rows])

        self.store.write(copy)

    def start(self, **values: Any) -> None:
        """Let every endpoint send from now on, after these changes of their rows."""
        now = self.clock.now()
        self.store.write(lambda tx: tx.execute(update(Endpoint).values(ready_at=now, **values)))

    def change(self, url: str, **values: Any) -> None:
        """Change an endpoint's row."""
        self.world.set_endpoint(url, **values)

    def warm_up(self, urls: Sequence[str]) -> None:
        """Make them as endpoints are that have answered for a while."""
        for url in urls:
            self.change(url, warmed_up=1, concurrency_limit=10)

    def end_leases(self) -> None:
        """Make the time pass after which what is in flight counts as lost."""

        def work(tx: Tx) -> None:
            now = self.clock.now()
            owners = select(Delivery.endpoint_id).where(Delivery.token.is_not(None))
            tx.execute(update(Endpoint).where(Endpoint.id.in_(owners)).values(ready_at=now - US_PER_SECOND))
            tx.execute(update(Delivery).where(Delivery.token.is_not(None)).values(due_at=now - US_PER_SECOND))

        self.store.write(work)

    def bring_forward(self, url: str) -> None:
        """Make the time pass until the next probe of an endpoint whose circuit is open."""
        self.change(url, open_until=0, ready_at=self.clock.now())

    def statuses(self) -> Counter[str]:
        """How many deliveries are in which status."""
        counts = self.store.read(
            lambda tx: tx.execute(select(Delivery.status, func.count()).group_by(Delivery.status)).all()
        )
        return Counter({status: int(count) for status, count in counts})

    def wait_until_ended(self, timeout: float = 30) -> Counter[str]:
        """Wait until no delivery is pending any more; how they ended."""
        wait_until(lambda: not self.statuses()[DeliveryStatus.PENDING], timeout, "every delivery has ended")
        return self.statuses()

    def attempts(self, delivery_id: str) -> list[str | None]:
        """The error of each attempt, None for a success, in order."""
        return [row.error for row in self.world.attempts(delivery_id)]

    def errors(self) -> Counter[str | None]:
        """How many attempts ended in which error."""
        return Counter(row.error for row in self.world.rows(Attempt))

    def end(self) -> None:
        for relay in self.relays:
            relay.end()
        self.store.close()


@contextmanager
def running_fleet(database_url: str, folder: Path, **settings: str) -> Iterator[Fleet]:
    """A fleet whose processes end with the block; `settings` go beyond those of QUICK."""
    fleet = Fleet(database_url, folder, {**QUICK, **settings})
    try:
        yield fleet
    finally:
        fleet.end()


@contextmanager
def silent_listener() -> Iterator[str]:
    """The URL of a server to which anybody can connect, and which never says a word, at no cost."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def due_to_arrival(fleet: Fleet, came_at: Mapping[str, Micros]) -> list[float]:
    """Seconds from when each of these deliveries was due to when it came, sorted."""
    rows = fleet.store.read(lambda tx: tx.execute(select(Delivery.id, Delivery.schedule_started_at)).all())
    since = {row.id: row.schedule_started_at for row in rows}
    return sorted((at - since[msg_id]) / US_PER_SECOND for msg_id, at in came_at.items())
