"""The concurrency limit and the circuit breaker of an endpoint, and when it is disabled.

    ┌──────────┐ success: the concurrency limit grows by one, up to the endpoint's own
    │  closed  │ failure: it is halved; after three in a row the endpoint is cold again
    └──┬────▲──┘
   ten failures    a probe succeeds: starts with the first concurrency limit
   in a row │ │
    ┌──▼────┴──┐ one probe at a time, 10 s apart at first, then twice as long each, up to
    │   open   │ 10 minutes; no retry is used up
    └──┬───────┘
   410, or ten failures over five days
    ┌──▼───────┐
    │ disabled │ everything is held until somebody resumes the endpoint
    └──────────┘

An endpoint is warmed up once it has answered, and cold before and after a run of failures. What
waits behind an open circuit waits for a limited time. That time does not begin anew at an endpoint
that answers now and then: it is blocked since its circuit first opened, until it was steady for an
hour.

Times are microseconds; `jitter` is a number in [0, 1).
"""

from dataclasses import dataclass, replace

from relay.common.states import DisabledReason
from relay.common.time import US_PER_SECOND, Micros

FIRST_CONCURRENCY_LIMIT = 2  # in flight, for an endpoint that has not answered yet
COLD_AFTER = 3  # failures in a row after which an endpoint is cold
OPEN_AFTER = 10  # failures in a row after which the circuit opens: one default in-flight limit's worth
FIRST_PROBE = 10 * US_PER_SECOND  # after the circuit has opened
LONGEST_PROBE = 600 * US_PER_SECOND  # between two probes: a mended receiver waits no longer than this
PROBE_JITTER = 0.2  # upwards, so that endpoints that failed together are not probed together
STEADY_AFTER = 3600 * US_PER_SECOND  # a circuit closed for so long opens independently of its last opening
GIVE_UP_PROBES = 3  # that failed since it opened (a minute): only then fails what has waited for too long
DISABLE_AFTER = 10  # failed attempts without a success …
DISABLE_SPAN = 5 * 86_400 * US_PER_SECOND  # … over this time, after which an endpoint is disabled


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """What the last answers of an endpoint allow. `opened_at` is None while the circuit is closed.

    `blocked_since` is when the circuit opened first, of openings that no steady hour parts. While
    the circuit is closed, the next opening keeps it or replaces it.
    """

    concurrency_limit: int = FIRST_CONCURRENCY_LIMIT
    warmed_up: bool = False
    failure_streak: int = 0
    failing_since: Micros | None = None
    opened_at: Micros | None = None
    blocked_since: Micros | None = None
    open_until: Micros = 0
    probe_count: int = 0
    recovered_at: Micros | None = None

    @property
    def is_open(self) -> bool:
        """Whether only single probes go through."""
        return self.opened_at is not None

    @property
    def wait_began_at(self) -> Micros | None:
        """When the wait behind the open circuit began; None while it is closed."""
        if self.opened_at is None or self.blocked_since is None:
            return self.opened_at
        return self.blocked_since

    @property
    def ends_waits(self) -> bool:
        """Whether what waited too long may fail: a circuit that just opened may soon close."""
        return self.probe_count >= GIVE_UP_PROBES

    def after_success(self, now: Micros, max_in_flight: int) -> "CircuitBreaker":
        """One more in flight for each success (so it doubles each round trip), up to the limit.

        The first success of an open circuit closes it; what was due by then is a backlog from now
        on.
        """
        if self.is_open:
            first = min(FIRST_CONCURRENCY_LIMIT, max_in_flight)
            return CircuitBreaker(first, warmed_up=True, blocked_since=self.wait_began_at, recovered_at=now)
        limit = min(self.concurrency_limit + 1, max_in_flight)
        if self.warmed_up and not self.failure_streak and limit == self.concurrency_limit:
            return self  # as nearly always; without a streak there is nothing else to reset
        return CircuitBreaker(
            limit, warmed_up=True, blocked_since=self.blocked_since, recovered_at=self.recovered_at
        )

    def after_failure(self, now: Micros, *, started_at: Micros, jitter: float) -> "CircuitBreaker":
        """Half as many in flight, and after a run of failures an open circuit.

        `started_at` is when the attempt began: one that began before the circuit opened is no
        probe.
        """
        streak = self.failure_streak + 1
        failed = replace(
            self,
            concurrency_limit=max(self.concurrency_limit // 2, 1),
            warmed_up=self.warmed_up and streak < COLD_AFTER,
            failure_streak=streak,
            failing_since=now if self.failing_since is None else self.failing_since,
        )
        if self.opened_at is not None:
            is_probe = started_at >= self.opened_at
            return _probe_later(failed, now, self.probe_count + 1, jitter) if is_probe else failed
        if streak >= OPEN_AFTER:
            opened = replace(failed, opened_at=now, blocked_since=_blocked_since(self, now))
            return _probe_later(opened, now, 0, jitter)
        return failed

    def disable_reason(self, now: Micros, status_code: int | None) -> DisabledReason | None:
        """Why the endpoint is to be disabled after this failed attempt; None if it is not."""
        if status_code == 410:
            return DisabledReason.GONE
        if self.failing_since is None or self.failure_streak < DISABLE_AFTER:
            return None
        return DisabledReason.FAILING if now - self.failing_since >= DISABLE_SPAN else None


def _blocked_since(closed: CircuitBreaker, now: Micros) -> Micros:
    """Since when an endpoint whose circuit opens now is blocked; never in the future."""
    recovered_at = closed.recovered_at
    if closed.blocked_since is None or recovered_at is None or now - recovered_at >= STEADY_AFTER:
        return now
    return min(closed.blocked_since, now)


def _probe_later(opened: CircuitBreaker, now: Micros, probe_count: int, jitter: float) -> CircuitBreaker:
    interval = min(FIRST_PROBE << min(probe_count, 20), LONGEST_PROBE)
    open_until = now + round(interval * (1 + PROBE_JITTER * jitter))
    return replace(opened, probe_count=probe_count, open_until=open_until)
