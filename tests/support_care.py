"""The API and the store's world side by side, for one subscriber: what people do, and what a relay does."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import update

from relay.core.records import SECOND, Micros
from relay.core.states import DeliveryStatus
from relay.store.clock import Clock
from relay.store.engine import Store
from relay.store.tables import Delivery
from relay.store.vault import Vault
from relay.tidy import Tidier
from tests.support_api import Caller, Got, new_caller
from tests.support_database import minting
from tests.support_flow import STEPS, World

HOOK = "https://example.com/hook"
RETENTION: Micros = 30 * 86_400 * SECOND


class StillClock(Clock):
    """The world's clock, for parts that ask the database's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> Micros:
        return self._world.now


def tidier_of(world: World) -> Tidier:
    return Tidier(world.store, StillClock(world), RETENTION, STEPS, world.mint)


def ended(world: World, count: int, status: DeliveryStatus, url: str = HOOK) -> list[str]:
    """So many deliveries to one endpoint that have ended like this."""
    ids = world.owe(count, url)
    values: dict[str, Any] = {"status": status, "due_at": None, "finished_at": world.now, "step": 3}
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

    def shown(self, delivery_id: str) -> Any:
        return self.api.get(f"/v1/deliveries/{delivery_id}").json

    def ids(self, query: str) -> list[str]:
        return [one["id"] for one in self.api.get(f"/v1/deliveries?{query}").json["data"]]


def caring(port: int, store: Store, vault: Vault) -> Care:
    """A new subscriber of the API at this port, which works on this store."""
    clock = Clock(store)
    caller = new_caller(port, store, vault, minting(clock.now))
    world = World(store, clock.now())
    world.subscriber_id = caller.subscriber_id
    return Care(caller, world)
