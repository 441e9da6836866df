"""An endpoint's pace and health: how much may fly, when it is left alone, when it is given up.

    ┌──────────┐ success: one more in flight, up to the limit
    │  active  │ failure: half as many; three in a row: no longer proven
    └──┬────▲──┘
   ten failures    a probe succeeds: starts slowly again
   in a row │ │
    ┌──▼────┴──┐ one probe at a time, 10 s apart at first, then twice as long each, up to 10 minutes;
    │   open   │ no retry is used up
    └──┬───────┘
   410, or ten failures over five days
    ┌──▼───────┐
    │ disabled │ everything is held until somebody resumes it
    └──────────┘

What waits behind an open circuit may wait for so long and no longer. That time does not begin anew
at an endpoint that answers now and then: it is blocked since its circuit first opened, until it was
steady for an hour.

Times are microseconds, `dice` is a number in [0, 1).
"""

from dataclasses import dataclass, replace

from relay.common.states import DisabledReason
from relay.common.time import US_PER_SECOND, Micros

FIRST_CONCURRENCY_LIMIT = 2  # in flight, for an endpoint that has not answered yet
COLD_AFTER = 3  # failures in a row after which an endpoint counts as failing
OPEN_AFTER = 10  # failures in a row after which the circuit opens: one default in-flight limit's worth
FIRST_PROBE = 10 * US_PER_SECOND  # after the circuit has opened
LONGEST_PROBE = 600 * US_PER_SECOND  # between two probes: a mended receiver waits no longer than this
PROBE_JITTER = 0.2  # upwards, so that endpoints that fell together are not probed together
STEADY_AFTER = (
    3600 * US_PER_SECOND
)  # closed for so long, a circuit that opens has nothing to do with those before
GIVE_UP_PROBES = 3  # that failed since it opened (a minute): what waited too long behind it ends only then
DISABLE_AFTER = 10  # failed attempts without a success …
DISABLE_SPAN = 5 * 86_400 * US_PER_SECOND  # … over this time, after which an endpoint is disabled


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """What the last answers of an endpoint allow. `opened_at` is None while its circuit is closed.

    `blocked_since` is when its circuit opened first, of openings that no steady hour parts. While
    the circuit is closed, it waits for the next opening, which keeps it or begins anew.
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
        """Whether the circuit is open: only single probes go through."""
        return self.opened_at is not None

    @property
    def wait_began_at(self) -> Micros | None:
        """When the wait behind the open circuit began; None while it is closed."""
        if self.opened_at is None or self.blocked_since is None:
            return self.opened_at
        return self.blocked_since

    @property
    def ends_waits(self) -> bool:
        """Whether what waited too long may fail: a circuit that has just opened may close in a moment."""
        return self.probe_count >= GIVE_UP_PROBES

    def after_success(self, now: Micros, max_in_flight: int) -> "EndpointHealth":
        """One more in flight for each success (so it doubles each round trip), up to the limit.

        The first success of an open circuit closes it; what was due by then is a backlog from now
        on.
        """
        if self.is_open:
            slowly = min(FIRST_CONCURRENCY_LIMIT, max_in_flight)
            return EndpointHealth(slowly, warmed_up=True, blocked_since=self.wait_began_at, recovered_at=now)
        concurrency_limit = min(self.concurrency_limit + 1, max_in_flight)
        if self.warmed_up and not self.failure_streak and concurrency_limit == self.concurrency_limit:
            return self  # as nearly always; a pace whose streak is 0 has nothing else to forget
        return EndpointHealth(
            concurrency_limit,
            warmed_up=True,
            blocked_since=self.blocked_since,
            recovered_at=self.recovered_at,
        )

    def after_failure(self, now: Micros, *, started_at: Micros, rng: float) -> "EndpointHealth":
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
            return _probed(failed, now, self.probe_count + 1, rng) if is_probe else failed
        if streak >= OPEN_AFTER:
            opened = replace(failed, opened_at=now, blocked_since=_opens_since(self, now))
            return _probed(opened, now, 0, rng)
        return failed


def _opens_since(health: EndpointHealth, now: Micros) -> Micros:
    """Since when an endpoint whose circuit opens now is blocked; never later, whatever the clock did."""
    if (
        health.blocked_since is None
        or health.recovered_at is None
        or now - health.recovered_at >= STEADY_AFTER
    ):
        return now
    return min(health.blocked_since, now)


def _probed(health: EndpointHealth, now: Micros, probe_count: int, rng: float) -> EndpointHealth:
    gap = min(FIRST_PROBE << min(probe_count, 20), LONGEST_PROBE)
    return replace(health, probe_count=probe_count, open_until=now + round(gap * (1 + PROBE_JITTER * rng)))


def why_disable(health: EndpointHealth, now: Micros, status_code: int | None) -> DisabledReason | None:
    """Why an endpoint is to be given up after this failed attempt; None if it is not."""
    if status_code == 410:
        return DisabledReason.GONE
    if health.failing_since is None or health.failure_streak < DISABLE_AFTER:
        return None
    return DisabledReason.FAILING if now - health.failing_since >= DISABLE_SPAN else None
