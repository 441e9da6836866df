"""Decides what becomes of a delivery after each attempt: one pure object; SQL stores its decisions.

    answered with a 2xx                 delivered
    a test                              failed: a test is sent once
    cancelled while it was in flight    cancelled
    its endpoint is disabled            pending, due now: held until somebody resumes the endpoint
    a failed probe of an open circuit   pending, due now: at the end of its endpoint's queue
      … that has waited for too long    failed
    any other failure                   pending, due after the next delay; this uses up a retry
      … when no retry is left           failed
    lost five times in a row            failed

"For too long" is twice the length of the schedule. It counts from the later of two moments: the
delivery's own beginning, and the endpoint's first opening of its circuit. What came before the
circuit opened does not count, as a pause may have held the delivery for weeks. A recovery of less
than an hour does count: else an endpoint that flaps would keep its queue for ever.

Times are microseconds; `jitter` is a number in [0, 1).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from relay.common.events import TEST
from relay.common.states import DeliveryStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.db.leases import GIVE_UP_AFTER
from relay.deliveries.rules.retry_after import retry_after_seconds
from relay.endpoints.rules.circuit_breaker import CircuitBreaker
from relay.endpoints.rules.endpoint_update import EndpointUpdate
from relay.sending.rules.outbound import Reply

JITTER = 0.2  # of the delay, either way: enough that a thousand failures of one second do not return as one

BLOCKED_TOO_LONG = "blocked: its endpoint was not steady for twice the length of the retry schedule"
HELD_TOO_LONG = "held: its endpoint was paused or disabled for longer than records are kept"
LOST_TOO_OFTEN = f"given up: {GIVE_UP_AFTER} attempts in a row were lost with the process that sent them"
LOST = "the process that sent this ended before the answer was recorded"


class Decision(NamedTuple):
    """What becomes of a delivery.

    `next_attempt_at` is set while it stays pending. `retries_used` is 1 where the schedule goes on
    by one delay. `reason` says why it ends, where the attempt's own error does not.
    """

    status: DeliveryStatus
    next_attempt_at: Micros | None = None
    retries_used: int = 0
    reason: str | None = None


DELIVERED = Decision(DeliveryStatus.DELIVERED)
FAILED = Decision(DeliveryStatus.FAILED)
CANCELLED = Decision(DeliveryStatus.CANCELLED)


class RetryState(Protocol):
    """How far a delivery has come: columns of its row."""

    event: str
    retry_count: int
    schedule_started_at: Micros  # when it was enqueued, or sent anew
    cancel_requested: int  # 1 where it was cancelled while it was in flight


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The schedule (seconds before each retry), and how long deliveries are held at most."""

    delays: tuple[float, ...]
    longest_hold: Micros

    @property
    def longest_wait(self) -> Micros:
        """How long a delivery may wait behind an open circuit before it fails."""
        return round(2 * sum(self.delays) * US_PER_SECOND)

    def decide(
        self,
        reply: Reply,
        delivery: RetryState,
        endpoint: EndpointUpdate,
        circuit: CircuitBreaker,
        now: Micros,
        jitter: float,
    ) -> Decision:
        """Decide after an attempt.

        `circuit` is the endpoint's as it was when the answer came, `endpoint` has learned from it.
        """
        if reply.error is None:
            return DELIVERED
        if delivery.event == TEST.name:
            return FAILED
        if delivery.cancel_requested:
            return CANCELLED
        if endpoint.is_disabled:
            return Decision(DeliveryStatus.PENDING, now)
        if circuit.wait_began_at is not None:
            return self._after_probe(reply, delivery, circuit, now)
        retry_at = self.retry_at(now, delivery.retry_count, reply.retry_after, jitter)
        return FAILED if retry_at is None else Decision(DeliveryStatus.PENDING, retry_at, retries_used=1)

    def retry_at(
        self, now: Micros, retry_count: int, retry_after: str | None, jitter: float
    ) -> Micros | None:
        """When the next attempt is due after a failure; None when the schedule is used up.

        Jitter is ±20 %, but never earlier than what the receiver asked for with Retry-After; that
        counts as at most the schedule's longest delay.
        """
        if retry_count >= len(self.delays):
            return None
        delay = self.delays[retry_count] * (1 - JITTER + 2 * JITTER * jitter)
        asked = self._asked_seconds(retry_after, now)
        if asked is not None:
            delay = max(delay, asked * (1 + JITTER * jitter))
        return now + round(delay * US_PER_SECOND)

    def _after_probe(
        self, reply: Reply, delivery: RetryState, circuit: CircuitBreaker, now: Micros
    ) -> Decision:
        """Decide after a failed probe; a circuit that has just opened ends no wait."""
        assert circuit.wait_began_at is not None
        waiting_since = max(delivery.schedule_started_at, circuit.wait_began_at)
        if circuit.ends_waits and now - waiting_since > self.longest_wait:
            return Decision(DeliveryStatus.FAILED, reason=BLOCKED_TOO_LONG)
        asked = self._asked_seconds(reply.retry_after, now) or 0.0
        return Decision(DeliveryStatus.PENDING, now + round(max(asked, 0.0) * US_PER_SECOND))

    def _asked_seconds(self, retry_after: str | None, now: Micros) -> float | None:
        """The wait that the receiver asked for, at most the schedule's longest delay."""
        asked = retry_after_seconds(retry_after, now)
        return None if asked is None else min(asked, max(self.delays, default=0.0))

    def decide_lost(self, lost_count: int, *, cancel_requested: bool) -> Decision | None:
        """Decide after an attempt was lost with its process; None: it is sent again at once."""
        if cancel_requested:
            return Decision(DeliveryStatus.CANCELLED, reason=LOST)
        if lost_count >= GIVE_UP_AFTER:
            return Decision(DeliveryStatus.FAILED, reason=LOST_TOO_OFTEN)
        return None

    def blocked_before(self, now: Micros) -> Micros:
        """Deliveries that have waited behind an open circuit since before this moment fail."""
        return now - self.longest_wait

    def held_before(self, now: Micros) -> Micros:
        """Deliveries that have been held since before this moment fail."""
        return now - self.longest_hold
