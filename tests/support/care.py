"""The API and the world of `flow` side by side, for one subscriber."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from relay.common.states import DeliveryStatus, DisabledReason
from relay.common.time import US_PER_SECOND
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.db.tables import Delivery
from relay.endpoints.sql import endpoint_moves
from relay.housekeeping.housekeeper import Housekeeper
from relay.subscribers.encryption import Encryption
from tests.support.api import Caller, Got, new_caller
from tests.support.database import id_maker
from tests.support.flow import POLICY, RETENTION, StillClock, World

HOOK = "https://example.com/hook"


def housekeeper_of(world: World) -> Housekeeper:
    return Housekeeper(world.store, StillClock(world), RETENTION, POLICY, world.new_id)


def ended(world: World, count: int, status: DeliveryStatus, url: str = HOOK) -> list[str]:
    """So many deliveries to one endpoint that have ended like this."""
    ids = world.enqueue(count, url)
    values: dict[str, Any] = {"status": status, "due_at": None, "finished_at": world.now, "retry_count": 3}
    if status is DeliveryStatus.DELIVERED:
        values["delivered_at"] = world.now
    world.store.write(lambda tx: tx.execute(update(Delivery).where(Delivery.id.in_(ids)).values(values)))
    return ids


@dataclass(frozen=True)
class Care:
    """One subscriber's API, and its world, whose clock follows the API's."""

    api: Caller
    world: World

    def act(self, path: str, body: Any = None) -> Got:
        """POST, then let the world's clock pass the API's."""
        got = self.api.post(path, body)
        self.world.now = max(Clock(self.world.store).now(), self.world.now) + 1
        return got

    def endpoint(self, url: str = HOOK) -> str:
        return str(self.world.endpoint(url).id)

    def path(self, url: str = HOOK) -> str:
        return f"/v1/endpoints/{self.endpoint(url)}"

    def shown(self, delivery_id: str) -> Any:
        return self.api.get(f"/v1/deliveries/{delivery_id}").json

    def ids(self, query: str) -> list[str]:
        return [one["id"] for one in self.api.get(f"/v1/deliveries?{query}").json["data"]]


def caring(port: int, store: Store, encryption: Encryption) -> Care:
    """A new subscriber of the API at this port, which works on this store."""
    clock = Clock(store)
    caller = new_caller(port, store, encryption, id_maker(clock.now))
    world = World(store, clock.now())
    world.subscriber_id = caller.subscriber_id
    return Care(caller, world)


def disable(world: World, url: str = HOOK, reason: DisabledReason = DisabledReason.GONE) -> None:
    world.store.write(endpoint_moves.disable, world.endpoint(url).id, reason, world.now)


def open_circuit(world: World, url: str = HOOK) -> None:
    """As a run of failures leaves it."""
    world.set_endpoint(
        url,
        opened_at=world.now,
        open_until=world.now + 600 * US_PER_SECOND,
        failing_since=world.now,
        failure_streak=10,
        concurrency_limit=1,
        ready_at=world.now + 600 * US_PER_SECOND,
        last_error="timeout: it did not answer",
    )


def set_delivery(world: World, delivery_id: str, **values: object) -> None:
    world.store.write(
        lambda tx: tx.execute(update(Delivery).where(Delivery.id == delivery_id).values(values))
    )
