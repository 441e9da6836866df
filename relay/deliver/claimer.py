"""The half of a dispatcher that finds work: claims what there is room for, and has it sent."""

import time
from collections.abc import Sequence

from relay import telemetry
from relay.core.errors import SenderDied
from relay.core.parcels import Parcel
from relay.core.records import SECOND, Micros, Reply
from relay.core.schedule import SUSPECT_AFTER
from relay.core.states import ErrorClass
from relay.deliver.flights import Flights
from relay.deliver.quarantine import Quarantine
from relay.deliver.rules import DeliverRules
from relay.net.courier import Courier
from relay.store import delivery_choice, delivery_claims, delivery_settles
from relay.store.clock import Clock
from relay.store.delivery_choice import Room
from relay.store.delivery_claims import Ready
from relay.store.delivery_payloads import Claimed
from relay.store.engine import Store
from relay.store.keyring import Keyring

SUBMIT_ROWS = 32  # parcels that are handed over at once: few enough that the first does not wait for the last
CLAIM_ROWS = 300  # at most, so that no claim holds its locks for long
WORTH_A_CLAIM = 150  # free slots for which one is made at once: waiting for more would leave them idle
IDLE = 0.15  # seconds between two looks for work: a new delivery leaves within a quarter second
CLAIM_EVERY = 0.02  # seconds between claims for fewer slots; and, within a second of a find, between looks
MOST_REACH = 10.0  # times the slots: the default in-flight limit, where each endpoint owes a single delivery
TURNS_EVERY = 1.0  # seconds between two looks at which subscribers have something ready


class Claimer:
    """Takes turns on one thread; `turn` waits until there may be something to do, and does it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        courier: Courier,
        keyring: Keyring,
        flights: Flights,
        quarantine: Quarantine,
        rules: DeliverRules,
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._keyring = keyring
        self._flights = flights
        self._quarantine = quarantine
        self._rules = rules
        self._claim_at = 0.0
        self._claimed_at = self._found_at = 0.0
        self._found_last = False
        self._ready = Ready(None, None, None)
        self._looked_at = 0.0
        self._reach = 1.0
        self._turns: list[str] = []
        self._turns_at = 0.0

    def turn(self) -> None:
        """Wait for the time to claim, or for a settle that makes room, and claim."""
        if self._flights.room_made.wait(max(self._claim_at - time.monotonic(), 0.0)):
            self._flights.room_made.clear()
            self._claim_soon()
        self._quarantine.turn()
        if time.monotonic() >= self._claim_at:
            self._claim()

    def _give_back(self, taken: Sequence[Claimed]) -> None:
        """Undo the claim of what was not sent: else its lease must end first, and it counts as lost."""
        claims = [(one.id, one.token, one.endpoint_id) for one in taken]
        self._store.write(delivery_settles.release, claims, self._clock.now())

    def _claim_soon(self) -> None:
        """There is room again: claim at once where there is enough, else with what comes until then."""
        is_enough = self._flights.slots_left >= min(WORTH_A_CLAIM, self._rules.max_in_flight)
        self._claim_at = min(self._claim_at, 0.0 if is_enough else self._claimed_at + CLAIM_EVERY)

    def _claim(self) -> None:
        """Take what there is room for; after an empty hand, look again in a while."""
        self._claimed_at = time.monotonic()
        self._claim_at = self._claimed_at + IDLE
        if self._flights.slots_left <= 0 or self._flights.settles_fail:
            return  # a settle makes room and moves this
        taken = self._claimed()
        if taken:
            self._found_at = self._claimed_at
            self._claim_at = self._claimed_at + CLAIM_EVERY
            if not self._is_waiting_for_endpoints(len(taken)):
                self._claim_soon()
        elif self._claimed_at - self._found_at < 1.0:
            self._claim_at = self._claimed_at + CLAIM_EVERY
        for suspect in (one for one in taken if one.lost_count >= SUSPECT_AFTER):  # one at most
            self._send_apart(suspect)
        others = [one for one in taken if one.lost_count < SUSPECT_AFTER]
        for start in range(0, len(others), SUBMIT_ROWS):
            try:
                self._send(others[start : start + SUBMIT_ROWS])
            except SenderDied:
                self._give_back(others[start + SUBMIT_ROWS :])
                raise

    def _is_waiting_for_endpoints(self, taken: int) -> bool:
        """Whether it is endpoints that have no slots, and not this dispatcher: then settles make room.

        Claiming again at once would find less still: several dispatchers send to the same endpoints.
        """
        return taken < WORTH_A_CLAIM / 2 and self._flights.slots_left > self._rules.max_in_flight / 2

    def _claimed(self) -> list[Claimed]:
        now = self._clock.now()
        if not self._is_something_ready(now):
            return []  # most looks of an idle relay end here, without a lock
        self._look_who_is_ready(now)
        room = self._flights.room(
            CLAIM_ROWS,
            self._turns,
            unproven=_is_past(self._ready.unproven, now),
            tests=_is_past(self._ready.test, now),
            suspects=self._quarantine.is_free,
            reach=self._reach,
        )
        claim = self._store.write(
            delivery_claims.claim,
            now=now,
            lease=self._rules.lease,
            token=self._rules.new_token(),
            room=room,
            mint=self._rules.mint,
        )
        if claim.lost:
            telemetry.attempts_lost(claim.lost)
        telemetry.deliveries_given_up(claim.ended)
        try:
            self._keyring.fetch(claim.taken, now)
        except Exception:
            self._give_back(claim.taken)
            raise
        self._learn_reach(room, len(claim.taken))
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
            self._claim_at = min(self._claim_at, time.monotonic() + (first - now) / SECOND)
        return _is_past(first, now)

    def _look_who_is_ready(self, now: Micros) -> None:
        """The subscribers among whom the slots are shared, others first at each claim; anew each second."""
        if time.monotonic() >= self._turns_at:
            self._turns_at = time.monotonic() + TURNS_EVERY
            self._turns = self._store.read(delivery_choice.ready_subscribers, now)
        served = delivery_choice.TURNS_PER_CLAIM
        self._turns = self._turns[served:] + self._turns[:served]

    def _learn_reach(self, room: Room, taken: int) -> None:
        """Look at more endpoints where those looked at owed less than they had slots for; then at fewer."""
        if taken < room.slots / 2:
            self._reach = min(self._reach * 2, MOST_REACH) if taken else 1.0
        elif taken >= room.slots:
            self._reach = max(self._reach * 0.75, 1.0)

    def _send(self, taken: list[Claimed]) -> None:
        """Hand some to the courier; where our own code fails on one, that is its attempt's outcome."""
        now = self._clock.now()
        keyed = [(f"{claimed.id}/{claimed.number}", claimed) for claimed in taken]
        self._flights.begin((key, claimed.flight(now)) for key, claimed in keyed)
        parcels = []
        for key, claimed in keyed:
            try:
                parcels.append(self._parcel(key, claimed, now))
            except Exception as error:  # noqa: BLE001 - one row that our code fails on must not stop the others
                self._fail(key, error)
        if not parcels:
            return
        try:
            self._courier.submit(*parcels)
        except SenderDied:
            raise
        except Exception as error:  # noqa: BLE001 - as above, for what can't be told which one it is
            for parcel in parcels:
                self._fail(parcel.key, error)

    def _send_apart(self, suspect: Claimed) -> None:
        """Have a delivery with which processes died sent by a sender of its own."""
        now = self._clock.now()
        key = f"{suspect.id}/{suspect.number}"
        self._flights.begin_apart(key, suspect.flight(now))
        try:
            self._quarantine.send(self._parcel(key, suspect, now))
        except Exception as error:  # noqa: BLE001 - as in `_send`
            self._fail(key, error)

    def _fail(self, key: str, error: Exception) -> None:
        telemetry.pass_failed("render", error, 0.0)
        detail = f"the relay could not make this webhook ({type(error).__name__}); this is our fault"
        self._flights.hand_in(Reply(key, None, ErrorClass.INTERNAL, detail, b"", 0))

    def _parcel(self, key: str, claimed: Claimed, now: Micros) -> Parcel:
        return Parcel(
            key,
            claimed.url,
            claimed.id,
            now // SECOND,
            claimed.message,
            self._keyring.secrets(claimed, now),
            self._keyring.headers(claimed.endpoint_id, claimed.headers_sealed),
            self._rules.user_agent,
            self._rules.attempt_seconds,
        )


def _is_past(at: Micros | None, now: Micros) -> bool:
    return at is not None and at <= now
