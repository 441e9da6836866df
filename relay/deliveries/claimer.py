"""The half of a dispatcher that finds work: claims what there is capacity for, and has it sent."""

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
from relay.deliveries.sql.delivery_claims import NextReady
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery
from relay.deliveries.sql.endpoint_selection import ClaimCapacity
from relay.sending.rules.outbound import OutboundRequest, Reply
from relay.sending.sender_client import SenderClient
from relay.telemetry.events import AttemptsLost, DeliveryGivenUp, IterationFailed

SUBMIT_ROWS = 32  # requests that are submitted at once: few, so that the first does not wait for the last
CLAIM_ROWS = 300  # at most, so that no claim holds its locks for long
CLAIM_SLOTS = 150  # free slots for which a claim is made at once: waiting for more would leave them idle
IDLE = 0.15  # seconds between two checks for work: a new delivery leaves within a quarter second
CLAIM_EVERY = 0.02  # seconds between claims for fewer slots; and, within a second of a find, between checks
MAX_SCAN_FACTOR = 10.0  # the default in-flight limit, for where each endpoint has a single delivery pending
ROTATION_EVERY = 1.0  # seconds between two lookups of the subscribers that have something ready


class Claimer:
    """Runs on one thread; `run_once` waits until there may be something to do, and does it."""

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
        self._ready = NextReady(None, None, None)
        self._ready_checked_at = 0.0
        self._scan_factor = 1.0
        self._rotation: list[str] = []
        self._rotation_at = 0.0

    def run_once(self) -> None:
        """Wait for the time to claim, or for results that free capacity, and claim."""
        if self._registry.capacity_freed.wait(max(self._claim_at - time.monotonic(), 0.0)):
            self._registry.capacity_freed.clear()
            self._claim_soon()
        self._isolated_sender.run_once()
        if time.monotonic() >= self._claim_at:
            self._claim_and_send()

    def _claim_soon(self) -> None:
        """Claim at once where enough slots are free, else after a short wait for more."""
        is_enough = self._registry.slots_left >= min(CLAIM_SLOTS, self._config.max_in_flight)
        self._claim_at = min(self._claim_at, 0.0 if is_enough else self._claimed_at + CLAIM_EVERY)

    def _claim_and_send(self) -> None:
        """Claim what there is capacity for and send it; after an empty claim, wait for longer."""
        self._claimed_at = time.monotonic()
        self._claim_at = self._claimed_at + IDLE
        if self._registry.slots_left <= 0 or self._registry.results_fail:
            return  # recorded results free slots and move this
        claimed = self._claim()
        if claimed:
            self._found_at = self._claimed_at
            self._claim_at = self._claimed_at + CLAIM_EVERY
            if not self._is_waiting_for_endpoints(len(claimed)):
                self._claim_soon()
        elif self._claimed_at - self._found_at < 1.0:
            self._claim_at = self._claimed_at + CLAIM_EVERY
        for delivery in claimed:
            if delivery.lost_count >= POISON_AFTER:  # one at most
                self._send_isolated(delivery)
        others = [delivery for delivery in claimed if delivery.lost_count < POISON_AFTER]
        for start in range(0, len(others), SUBMIT_ROWS):
            try:
                self._send(others[start : start + SUBMIT_ROWS])
            except SenderDied:
                self._release(others[start + SUBMIT_ROWS :])
                raise

    def _is_waiting_for_endpoints(self, claimed: int) -> bool:
        """Whether endpoints lack slots, and not this dispatcher: then results free some.

        Claiming again at once would find less still: several dispatchers send to the same
        endpoints.
        """
        return claimed < CLAIM_SLOTS / 2 and self._registry.slots_left > self._config.max_in_flight / 2

    def _claim(self) -> list[ClaimedDelivery]:
        now = self._clock.now()
        if not self._is_something_ready(now):
            return []  # most checks of an idle relay end here, without a lock
        self._rotate_subscribers(now)
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
            policy=self._config.policy,
            new_id=self._config.new_id,
        )
        if claim.lost:
            telemetry.emit(AttemptsLost(claim.lost))
        telemetry.emit(*(DeliveryGivenUp(delivery_id, status) for delivery_id, status in claim.ended.items()))
        try:
            self._keyring.fetch(claim.taken, now)
        except Exception:
            self._release(claim.taken)
            raise
        self._adapt_scan_factor(capacity, len(claim.taken))
        self._found_last = bool(claim.taken)
        return claim.taken

    def _is_something_ready(self, now: Micros) -> bool:
        """Whether an endpoint may send, or a test is due; checked seldom while claims find some.

        If one may soon, as a rate limit can say, the next check is then.
        """
        if self._found_last and self._claimed_at - self._ready_checked_at < IDLE:
            return True
        self._found_last, self._ready_checked_at = False, self._claimed_at
        self._ready = self._store.read(delivery_claims.next_ready)
        first = self._ready.first
        if first is not None and first > now:
            self._claim_at = min(self._claim_at, time.monotonic() + (first - now) / US_PER_SECOND)
        return _is_past(first, now)

    def _rotate_subscribers(self, now: Micros) -> None:
        """Have each claim begin with other subscribers, among whom the slots are divided."""
        if time.monotonic() >= self._rotation_at:
            self._rotation_at = time.monotonic() + ROTATION_EVERY
            self._rotation = self._store.read(endpoint_selection.ready_subscribers, now)
        served = endpoint_selection.SUBSCRIBERS_PER_CLAIM
        self._rotation = self._rotation[served:] + self._rotation[:served]

    def _adapt_scan_factor(self, capacity: ClaimCapacity, claimed: int) -> None:
        """Scan more endpoints where those scanned did not fill the slots; then fewer again."""
        if claimed < capacity.slots / 2:
            self._scan_factor = min(self._scan_factor * 2, MAX_SCAN_FACTOR) if claimed else 1.0
        elif claimed >= capacity.slots:
            self._scan_factor = max(self._scan_factor * 0.75, 1.0)

    def _release(self, deliveries: Sequence[ClaimedDelivery]) -> None:
        """Undo the claim of what was not sent: else it counts as lost when its lease ends."""
        claims = [(delivery.id, delivery.token, delivery.endpoint_id) for delivery in deliveries]
        self._store.write(delivery_results.release, claims, self._clock.now())

    def _send(self, deliveries: list[ClaimedDelivery]) -> None:
        """Submit some to the sender; where our own code fails on one, its attempt fails."""
        now = self._clock.now()
        keyed = [(f"{delivery.id}/{delivery.number}", delivery) for delivery in deliveries]
        self._registry.add((key, delivery.attempt(now)) for key, delivery in keyed)
        requests = []
        for key, delivery in keyed:
            try:
                requests.append(self._request(key, delivery, now))
            except Exception as error:  # noqa: BLE001 - one row that our code fails on must not stop the others
                self._fail(key, error)
        if not requests:
            return
        try:
            self._sender_client.submit(*requests)
        except SenderDied:
            raise
        except Exception as error:  # noqa: BLE001 - as above, where it is not known which one it is
            for request in requests:
                self._fail(request.key, error)

    def _send_isolated(self, poison_message: ClaimedDelivery) -> None:
        """Have a delivery with which processes died sent by a sender of its own."""
        now = self._clock.now()
        key = f"{poison_message.id}/{poison_message.number}"
        self._registry.add_isolated(key, poison_message.attempt(now))
        try:
            self._isolated_sender.send(self._request(key, poison_message, now))
        except Exception as error:  # noqa: BLE001 - as in `_send`
            self._fail(key, error)

    def _fail(self, key: str, error: Exception) -> None:
        telemetry.emit(IterationFailed("render", error, 0.0))
        detail = f"the relay could not make this webhook ({type(error).__name__}); this is our fault"
        self._registry.hand_in(Reply(key, None, ErrorClass.INTERNAL, detail, b"", 0))

    def _request(self, key: str, delivery: ClaimedDelivery, now: Micros) -> OutboundRequest:
        return OutboundRequest(
            key,
            delivery.url,
            delivery.id,
            now // US_PER_SECOND,
            delivery.message,
            self._keyring.secrets(delivery, now),
            self._keyring.headers(delivery.endpoint_id, delivery.headers_sealed),
            self._config.user_agent,
            self._config.attempt_seconds,
        )


def _is_past(moment_us: Micros | None, now: Micros) -> bool:
    return moment_us is not None and moment_us <= now
