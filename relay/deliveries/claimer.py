"""The half of a dispatcher that finds work: claims what there is room for, and has it sent."""

import time
from collections.abc import Sequence

from relay import telemetry
from relay.common.errors import SenderDied
from relay.common.states import ErrorClass
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store
from relay.db.leases import POISON_AFTER
from relay.deliveries.config import DeliveryConfig
from relay.deliveries.in_flight import InFlightRegistry
from relay.deliveries.isolated_sender import IsolatedSender
from relay.deliveries.signing_keys import Keyring
from relay.deliveries.sql import delivery_claims, delivery_results, endpoint_selection
from relay.deliveries.sql.delivery_claims import Ready
from relay.deliveries.sql.delivery_payloads import Claimed
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.sending.rules.outbound import OutboundRequest, Reply
from relay.sending.sender_client import SenderClient
from relay.telemetry.events import AttemptsLost, DeliveryGivenUp, IterationFailed

SUBMIT_ROWS = 32  # parcels that are handed over at once: few enough that the first does not wait for the last
CLAIM_ROWS = 300  # at most, so that no claim holds its locks for long
WORTH_A_CLAIM = 150  # free slots for which one is made at once: waiting for more would leave them idle
IDLE = 0.15  # seconds between two looks for work: a new delivery leaves within a quarter second
CLAIM_EVERY = 0.02  # seconds between claims for fewer slots; and, within a second of a find, between looks
MAX_SCAN_FACTOR = (
    10.0  # times the slots: the default in-flight limit, where each endpoint owes a single delivery
)
ROTATION_EVERY = 1.0  # seconds between two looks at which subscribers have something ready


class Claimer:
    """Takes turns on one thread; `turn` waits until there may be something to do, and does it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sender_client: SenderClient,
        keyring: Keyring,
        registry: InFlightRegistry,
        isolated_sender: IsolatedSender,
        config: DeliveryConfig,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sender_client = sender_client
        self._keyring = keyring
        self._registry = registry
        self._isolated_sender = isolated_sender
        self._config = config
        self._claim_at = 0.0
        self._claimed_at = self._found_at = 0.0
        self._found_last = False
        self._ready = Ready(None, None, None)
        self._looked_at = 0.0
        self._scan_factor = 1.0
        self._rotation: list[str] = []
        self._rotation_at = 0.0

    def run_once(self) -> None:
        """Wait for the time to claim, or for a settle that makes room, and claim."""
        if self._registry.capacity_freed.wait(max(self._claim_at - time.monotonic(), 0.0)):
            self._registry.capacity_freed.clear()
            self._claim_soon()
        self._isolated_sender.run_once()
        if time.monotonic() >= self._claim_at:
            self._claim()

    def _give_back(self, taken: Sequence[Claimed]) -> None:
        """Undo the claim of what was not sent: else its lease must end first, and it counts as lost."""
        claims = [(one.id, one.token, one.endpoint_id) for one in taken]
        self._store.write(delivery_results.release, claims, self._clock.now())

    def _claim_soon(self) -> None:
        """There is room again: claim at once where there is enough, else with what comes until then."""
        is_enough = self._registry.slots_left >= min(WORTH_A_CLAIM, self._config.max_in_flight)
        self._claim_at = min(self._claim_at, 0.0 if is_enough else self._claimed_at + CLAIM_EVERY)

    def _claim(self) -> None:
        """Take what there is room for; after an empty hand, look again in a while."""
        self._claimed_at = time.monotonic()
        self._claim_at = self._claimed_at + IDLE
        if self._registry.slots_left <= 0 or self._registry.results_fail:
            return  # a settle makes room and moves this
        taken = self._claimed()
        if taken:
            self._found_at = self._claimed_at
            self._claim_at = self._claimed_at + CLAIM_EVERY
            if not self._is_waiting_for_endpoints(len(taken)):
                self._claim_soon()
        elif self._claimed_at - self._found_at < 1.0:
            self._claim_at = self._claimed_at + CLAIM_EVERY
        for poison_message in (one for one in taken if one.lost_count >= POISON_AFTER):  # one at most
            self._send_apart(poison_message)
        others = [one for one in taken if one.lost_count < POISON_AFTER]
        for start in range(0, len(others), SUBMIT_ROWS):
            try:
                self._send(others[start : start + SUBMIT_ROWS])
            except SenderDied:
                self._give_back(others[start + SUBMIT_ROWS :])
                raise

    def _is_waiting_for_endpoints(self, taken: int) -> bool:
        """Whether it is endpoints that have no slots, and not this dispatcher: then settles make room.

        Claiming again at once would find less still: several dispatchers send to the same
        endpoints.
        """
        return taken < WORTH_A_CLAIM / 2 and self._registry.slots_left > self._config.max_in_flight / 2

    def _claimed(self) -> list[Claimed]:
        now = self._clock.now()
        if not self._is_something_ready(now):
            return []  # most looks of an idle relay end here, without a lock
        self._look_who_is_ready(now)
        capacity = self._registry.capacity(
            CLAIM_ROWS,
            self._rotation,
            cold=_is_past(self._ready.cold, now),
            tests=_is_past(self._ready.test, now),
            poison=self._isolated_sender.is_free,
            scan_factor=self._scan_factor,
        )
        claim = self._store.write(
            delivery_claims.claim,
            now=now,
            lease=self._config.lease,
            token=self._config.new_token(),
            capacity=capacity,
            new_id=self._config.new_id,
        )
        if claim.lost:
            telemetry.emit(AttemptsLost(claim.lost))
        telemetry.emit(*(DeliveryGivenUp(delivery_id, status) for delivery_id, status in claim.ended))
        try:
            self._keyring.fetch(claim.taken, now)
        except Exception:
            self._give_back(claim.taken)
            raise
        self._adapt_scan_factor(capacity, len(claim.taken))
        self._found_last = bool(claim.taken)
        return claim.taken

    def _is_something_ready(self, now: Micros) -> bool:
        """Whether an endpoint may send, or a test is due; while claims find something, looked up seldom.

        If one may soon, as a rate limit can say, the next look is then.
        """
        if self._found_last and self._claimed_at - self._looked_at < IDLE:
            return True
        self._found_last, self._looked_at = False, self._claimed_at
        self._ready = self._store.read(delivery_claims.next_ready)
        first = self._ready.first
        if first is not None and first > now:
            self._claim_at = min(self._claim_at, time.monotonic() + (first - now) / US_PER_SECOND)
        return _is_past(first, now)

    def _look_who_is_ready(self, now: Micros) -> None:
        """The subscribers among whom the slots are shared, others first at each claim; anew each second."""
        if time.monotonic() >= self._rotation_at:
            self._rotation_at = time.monotonic() + ROTATION_EVERY
            self._rotation = self._store.read(endpoint_selection.ready_subscribers, now)
        served = endpoint_selection.SUBSCRIBERS_PER_CLAIM
        self._rotation = self._rotation[served:] + self._rotation[:served]

    def _adapt_scan_factor(self, capacity: ClaimCapacity, taken: int) -> None:
        """Look at more endpoints where those looked at owed less than they had slots for; then at fewer."""
        if taken < capacity.slots / 2:
            self._scan_factor = min(self._scan_factor * 2, MAX_SCAN_FACTOR) if taken else 1.0
        elif taken >= capacity.slots:
            self._scan_factor = max(self._scan_factor * 0.75, 1.0)

    def _send(self, taken: list[Claimed]) -> None:
        """Hand some to the courier; where our own code fails on one, that is its attempt's outcome."""
        now = self._clock.now()
        keyed = [(f"{claimed.id}/{claimed.number}", claimed) for claimed in taken]
        self._registry.begin((key, claimed.attempt(now)) for key, claimed in keyed)
        outbound_requests = []
        for key, claimed in keyed:
            try:
                outbound_requests.append(self._outbound(key, claimed, now))
            except Exception as error:  # noqa: BLE001 - one row that our code fails on must not stop the others
                self._fail(key, error)
        if not outbound_requests:
            return
        try:
            self._sender_client.submit(*outbound_requests)
        except SenderDied:
            raise
        except Exception as error:  # noqa: BLE001 - as above, for what can't be told which one it is
            for outbound in outbound_requests:
                self._fail(outbound.key, error)

    def _send_apart(self, poison_message: Claimed) -> None:
        """Have a delivery with which processes died sent by a sender of its own."""
        now = self._clock.now()
        key = f"{poison_message.id}/{poison_message.number}"
        self._registry.begin_apart(key, poison_message.attempt(now))
        try:
            self._isolated_sender.send(self._outbound(key, poison_message, now))
        except Exception as error:  # noqa: BLE001 - as in `_send`
            self._fail(key, error)

    def _fail(self, key: str, error: Exception) -> None:
        telemetry.emit(IterationFailed("render", error, 0.0))
        detail = f"the relay could not make this webhook ({type(error).__name__}); this is our fault"
        self._registry.hand_in(Reply(key, None, ErrorClass.INTERNAL, detail, b"", 0))

    def _outbound(self, key: str, claimed: Claimed, now: Micros) -> OutboundRequest:
        return OutboundRequest(
            key,
            claimed.url,
            claimed.id,
            now // US_PER_SECOND,
            claimed.message,
            self._keyring.secrets(claimed, now),
            self._keyring.headers(claimed.endpoint_id, claimed.headers_sealed),
            self._config.user_agent,
            self._config.attempt_seconds,
        )


def _is_past(at: Micros | None, now: Micros) -> bool:
    return at is not None and at <= now
