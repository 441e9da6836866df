"""The pump: claim due deliveries, hand them to the courier, settle what came of them.

Two threads, joined by queues: the courier's runs libcurl and never touches SQL; this one runs SQL and never
waits for a receiver. Free slots are refilled as transfers end; settles are flushed every 20 ms or 100 rows.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty
from threading import Event as Flag

from relay import telemetry
from relay.core import signing, webhook
from relay.core.ids import Mint
from relay.core.records import SECOND, Micros, Parcel, Reply
from relay.core.schedule import SUSPECT_AFTER
from relay.core.slots import Load, Slots
from relay.core.states import ErrorClass, Event
from relay.net.courier import Courier
from relay.store import delivery_choice, delivery_claims, delivery_settles
from relay.store.clock import Clock
from relay.store.delivery_choice import Room
from relay.store.delivery_payloads import Claimed
from relay.store.delivery_settles import Done
from relay.store.engine import Store
from relay.store.keyring import Keyring

FLUSH_AFTER = 0.02  # seconds a reply waits at most for others to be settled with
FLUSH_ROWS = 100  # a batch of 100 costs little more than a batch of 1
GATHER = 0.005  # seconds for which replies gather while none of them is due to be settled
SUBMIT_ROWS = 32  # parcels that are handed over at once: few enough that the first does not wait for the last
CLAIM_ROWS = 200  # at most, so that no claim holds its locks for long
IDLE = 0.15  # seconds between two looks for work: a new delivery leaves within a quarter second
CLAIM_EVERY = 0.02  # seconds between claims that fill no batch; and, within a second of a find, between looks
MOST_REACH = 10.0  # times the slots: the default in-flight limit, where each endpoint owes a single delivery
LEASE_MARGIN = 5.0  # seconds of a lease left over for the settle
SQL_PAUSE = 0.5  # seconds before a settle that failed is tried again
TURNS_EVERY = 1.0  # seconds between two looks at which subscribers have something ready


@dataclass(frozen=True, slots=True)
class DeliverRules:
    """What the settings say of delivering; durations in microseconds unless they say seconds."""

    lease: Micros
    attempt_seconds: float
    retry_seconds: Sequence[float]
    max_in_flight: int
    user_agent: str
    mint: Mint
    new_token: Callable[[], str]
    dice: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Flight:
    """A delivery under way."""

    claimed: Claimed
    load: Load
    started_at: Micros


class Dispatcher:
    """Owns what is in flight from claim to settle."""

    def __init__(
        self, store: Store, clock: Clock, courier: Courier, keyring: Keyring, rules: DeliverRules
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._keyring = keyring
        self._rules = rules
        self._flights: dict[str, Flight] = {}
        self._alone: Claimed | None = None  # sent when nothing else is in flight: processes died with it
        self._alone_until = 0.0
        self._quiet = False  # nothing is claimed until nothing flies: a suspect does, or is about to
        self._done: list[Done] = []
        self._flush_at = 0.0
        self._claim_at = 0.0
        self._claimed_at = self._found_at = 0.0
        self._slots = Slots(rules.max_in_flight)
        self._reach = 1.0
        self._turns: list[str] = []
        self._turns_at = 0.0
        self._paused_until = 0.0  # the database failed: replies are still taken, SQL waits

    def run(self, stop: Flag) -> int:
        """Pump until told to stop, then finish what is in flight and settle it.

        Returns how many attempts had to be abandoned; their leases run out and others make them again.
        """
        self._courier.start()
        while not stop.is_set():
            self._guarded(self._turn)
        self._drain()
        self._courier.stop(0.0)
        return len(self._flights) + len(self._done)

    def _turn(self) -> None:
        self._take_replies(self._patience())
        if time.monotonic() < self._paused_until:
            return
        if self._ripe():
            self._settle()
        if self._alone is not None:
            self._send_alone(self._alone)
        if time.monotonic() >= self._claim_at:
            self._claim()

    def _send_alone(self, suspect: Claimed) -> None:
        """Send a suspect once nothing else flies; give it back if its lease would not outlast its attempt."""
        if not self._flights:
            self._alone = None
            self._quiet = True
            self._send(suspect)
        elif time.monotonic() > self._alone_until:
            self._give_back()
            self._quiet = True  # let what flies end first: the next claim finds it again, and room to send it

    def _guarded(self, work: Callable[[], None]) -> None:
        """A surprise ends one turn, not the process; what is in flight stays in hand."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the loop's last line of defence: say it and go on
            telemetry.pass_failed("deliver", error, SQL_PAUSE)
            self._paused_until = time.monotonic() + SQL_PAUSE

    def _patience(self) -> float:
        """How long to wait for a reply before something else is to be done."""
        if self._ripe():
            next_thing = 0.0
        else:
            next_thing = min(self._claim_at, self._flush_at) if self._done else self._claim_at
        return max(max(next_thing, self._paused_until) - time.monotonic(), 0.0)

    def _take_replies(self, patience: float) -> None:
        """Move what has come in from the courier to what is to be settled."""
        results = self._courier.results
        if self._done and patience:
            # More will come: let them gather. Waking for each would take the interpreter from the courier.
            time.sleep(min(patience, GATHER))
            patience = 0.0
        try:
            reply = results.get(timeout=patience) if patience else results.get_nowait()
            while True:
                self._note(reply)
                reply = results.get_nowait()
        except Empty:
            pass

    def _note(self, reply: Reply) -> None:
        flight = self._flights.pop(reply.key)
        self._slots.free(flight.load, answered_at=time.monotonic() if reply.status_code else None)
        if not self._done:
            self._flush_at = time.monotonic() + FLUSH_AFTER
        self._done.append(
            Done(
                delivery_id=flight.claimed.id,
                token=flight.claimed.token,
                number=flight.claimed.number,
                endpoint_id=flight.claimed.endpoint_id,
                reply=reply,
                started_at=flight.started_at,
                attempt_id=self._rules.mint("att"),
                dice=self._rules.dice(),
            )
        )

    def _ripe(self) -> bool:
        due = len(self._done) >= FLUSH_ROWS or time.monotonic() >= self._flush_at
        return bool(self._done) and due

    def _settle(self) -> None:
        """Write a batch; if the database does not take it, it is kept and tried again."""
        batch = self._done[:FLUSH_ROWS]
        result = self._store.write(
            delivery_settles.settle, batch, now=self._clock.now(), steps=self._rules.retry_seconds
        )
        del self._done[: len(batch)]
        self._claim_soon()
        telemetry.attempts_ended([_ended(one) for one in result.settled if one.status is not None])
        for turn in result.turns:
            telemetry.endpoint_turned(turn.endpoint_id, turn.became, turn.detail)

    def _claim_soon(self) -> None:
        """There is room again: claim at once where that fills a batch, else with what comes until then."""
        full = self._slots.left >= min(CLAIM_ROWS, self._rules.max_in_flight)
        self._claim_at = min(self._claim_at, 0.0 if full else self._claimed_at + CLAIM_EVERY)

    def _claim(self) -> None:
        """Take what there is room for; after an empty hand, look again in a while."""
        self._claimed_at = time.monotonic()
        self._claim_at = self._claimed_at + IDLE
        self._quiet = self._quiet and bool(self._flights)
        if self._slots.left <= 0 or self._alone is not None or self._quiet:
            return  # a settle makes room and moves this
        taken = self._claimed()
        if taken:
            self._found_at = self._claimed_at
            self._claim_soon()
        elif self._claimed_at - self._found_at < 1.0:
            self._claim_at = self._claimed_at + CLAIM_EVERY
        for suspect in (one for one in taken if one.lost_count >= SUSPECT_AFTER):  # one at most
            self._alone = suspect
            spare = self._rules.lease / SECOND - self._rules.attempt_seconds - LEASE_MARGIN
            self._alone_until = self._claimed_at + max(spare, 0.0)
        others = [one for one in taken if one.lost_count < SUSPECT_AFTER]
        for start in range(0, len(others), SUBMIT_ROWS):
            self._send(*others[start : start + SUBMIT_ROWS])

    def _room(self) -> Room:
        """What can be taken on now; where silent endpoints hold their whole share, only from the others."""
        now = time.monotonic()
        slots = min(self._slots.left, CLAIM_ROWS)
        for_silent = self._slots.left_for_silent(now)
        return Room(
            slots=min(slots, for_silent) if for_silent > 0 else slots,
            unproven_slots=self._slots.left_for_unproven,
            payload_bytes=self._slots.bytes_left,
            turns=self._turns,
            held=self._slots.held,
            only=None if for_silent > 0 else self._slots.lively(now),
            reach=self._reach,
        )

    def _look_who_is_ready(self, now: Micros) -> None:
        """The subscribers among whom the slots are shared, others first at each claim; anew each second."""
        if time.monotonic() >= self._turns_at:
            self._turns_at = time.monotonic() + TURNS_EVERY
            self._turns = self._store.read(delivery_choice.ready_subscribers, now)
        served = delivery_choice.TURNS_PER_CLAIM
        self._turns = self._turns[served:] + self._turns[:served]

    def _claimed(self) -> list[Claimed]:
        now = self._clock.now()
        ready_at = self._store.read(delivery_claims.next_ready)  # most looks of an idle relay end here
        if ready_at is None or ready_at > now:
            if ready_at is not None:  # a rate limit may let the next one go sooner than the next look
                self._claim_at = min(self._claim_at, time.monotonic() + (ready_at - now) / SECOND)
            return []
        self._look_who_is_ready(now)
        room = self._room()
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
        self._keyring.fetch(claim.taken, now)
        self._learn_reach(room, len(claim.taken))
        return claim.taken

    def _learn_reach(self, room: Room, taken: int) -> None:
        """Look at more endpoints where those looked at owed less than they had slots for; then at fewer."""
        if taken < room.slots / 2:
            self._reach = min(self._reach * 2, MOST_REACH) if taken else 1.0
        elif taken >= room.slots:
            self._reach = max(self._reach * 0.75, 1.0)

    def _send(self, *taken: Claimed) -> None:
        """Hand some to the courier; where our own code fails on one, that is its attempt's outcome."""
        parcels = []
        for claimed in taken:
            now = self._clock.now()
            key = f"{claimed.id}/{claimed.number}"
            load = Load(claimed.endpoint_id, claimed.subscriber_id, claimed.unproven, claimed.payload_bytes)
            self._slots.take(load)
            self._flights[key] = Flight(claimed, load, now)
            try:
                parcels.append(self._parcel(key, claimed, now))
            except Exception as error:  # noqa: BLE001 - one row that our code fails on must not stop the others
                telemetry.pass_failed("render", error, 0.0)
                detail = f"the relay could not make this webhook ({type(error).__name__}); this is our fault"
                self._note(Reply(key, None, ErrorClass.INTERNAL, detail, b"", 0))
        self._courier.submit_all(parcels)

    def _parcel(self, key: str, claimed: Claimed, now: Micros) -> Parcel:
        body = _body(claimed)
        timestamp = now // SECOND
        secrets = self._keyring.secrets(claimed, now)
        headers = (
            ("content-type", "application/json"),
            ("user-agent", self._rules.user_agent),
            ("webhook-id", claimed.id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", signing.sign(secrets, claimed.id, timestamp, body)),
            *self._keyring.headers(claimed.endpoint_id, claimed.headers_sealed),
        )
        return Parcel(key, claimed.url, headers, body, self._rules.attempt_seconds)

    def _drain(self) -> None:
        """Nothing new; what is in flight ends within its deadline, and is settled."""
        give_up_at = time.monotonic() + self._rules.attempt_seconds + 5
        if self._alone is not None:
            self._guarded(self._give_back)
        while (self._flights or self._done) and time.monotonic() < give_up_at:
            self._take_replies(FLUSH_AFTER)
            if self._ripe() and time.monotonic() >= self._paused_until:
                self._guarded(self._settle)

    def _give_back(self) -> None:
        assert self._alone is not None
        claim = (self._alone.id, self._alone.token, self._alone.endpoint_id)
        self._store.write(delivery_settles.release, [claim], self._clock.now())
        self._alone = None


def _body(claimed: Claimed) -> bytes:
    """The webhook's body; the same bytes at every attempt."""
    if claimed.content is not None:
        return webhook.render_notice(Event(claimed.event), claimed.created_at, claimed.content)
    job = claimed.job
    assert claimed.watch_id is not None
    assert claimed.metadata is not None
    assert job is not None
    return webhook.render(
        Event(claimed.event),
        claimed.created_at,
        watch_id=claimed.watch_id,
        metadata=claimed.metadata,
        job=job,
        data_bytes=claimed.data_bytes,
    )


def _ended(one: delivery_settles.Settled) -> telemetry.AttemptEnded:
    """What is told of an attempt; of one whose claim was no longer ours, whoever followed has told."""
    assert one.status is not None
    done = one.done
    return telemetry.AttemptEnded(
        done.delivery_id,
        done.endpoint_id,
        done.number,
        done.reply.status_code,
        done.reply.error,
        done.reply.duration,
        one.status,
        one.next_attempt_at,
    )
