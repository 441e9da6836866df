"""Keeps one poller to the fleet's rate limiter: waits for calls, holds them back after failures."""

import time
from collections.abc import Callable

from relay import telemetry
from relay.common.time import US_PER_SECOND, Micros
from relay.db.clock import Clock
from relay.db.engine import Store, Tx
from relay.polling.rules.outcomes import Failure, code_and_detail, is_down
from relay.polling.rules.poll_policy import upstream_backoff
from relay.polling.sql import rate_limiter
from relay.provider.source import RefusalKind, Refused
from relay.telemetry.events import UpstreamDown, UpstreamRecovered

PROBE_AFTER = 60 * US_PER_SECOND  # between two calls while the source refuses all of them
CREDENTIALS_GRACE = 5 * US_PER_SECOND  # until missing ones are reported: a start takes a moment

SlowDown = Callable[[Tx, Micros], None]


class UpstreamGuard:
    """Guards a source against more calls than it takes, and says when it goes down and recovers."""

    def __init__(self, store: Store, clock: Clock, source: str, call_interval: Micros) -> None:
        self._store = store
        self._clock = clock
        self._source = source
        self._call_interval = call_interval
        self._is_up = True
        self._unready_since: Micros | None = None

    def wait_for_call(self) -> None:
        """Take one more call of the rate limiter for what is claimed already."""
        while (free_at := self._take_call()) is not None:
            time.sleep(max((free_at - self._clock.now()) / US_PER_SECOND, 0.001))

    def _take_call(self) -> Micros | None:
        return self._store.write(rate_limiter.take_call, self._source, self._clock.now(), self._call_interval)

    def is_ready(self, why_not: str | None) -> bool:
        """Whether the source can be asked; `why_not` is a sentence without credentials."""
        if why_not is None:
            self._unready_since = None
            return True
        now = self._clock.now()
        self._unready_since = self._unready_since or now
        if self._is_up and now - self._unready_since >= CREDENTIALS_GRACE:
            self._store.write(rate_limiter.not_asked, self._source, now, code="NoCredentials", detail=why_not)
            self._goes_down("NoCredentials", why_not)
        return False

    def slow_down(self, asked_at: Micros, failure: Failure, jitter: float) -> SlowDown:
        """What a failed call means for the next ones; to be run in a transaction."""
        code, detail = code_and_detail(failure)
        wait = (failure.retry_after or 0) if isinstance(failure, Refused) else 0
        if isinstance(failure, Refused) and failure.kind is RefusalKind.THROTTLED:
            return lambda tx, now: rate_limiter.throttled(
                tx, self._source, now, asked_at=asked_at, code=code, detail=detail, wait=wait
            )

        def hold(streak: int) -> Micros:
            return PROBE_AFTER if is_down(failure) else max(upstream_backoff(streak, jitter), wait)

        return lambda tx, now: rate_limiter.failed(
            tx, self._source, now, asked_at=asked_at, code=code, detail=detail, hold=hold
        )

    def failed(self, failure: Failure) -> None:
        """Say it, where the source has just gone down."""
        if is_down(failure):
            self._goes_down(*code_and_detail(failure))

    def answered(self) -> None:
        """Say it, where the source was down."""
        if not self._is_up:
            self._is_up = True
            telemetry.emit(UpstreamRecovered())

    def _goes_down(self, code: str, detail: str) -> None:
        if self._is_up:
            self._is_up = False
            telemetry.emit(UpstreamDown(code, detail))
