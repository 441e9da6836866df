"""Provides the provider's credentials: a callable that is called anew for every signature.

Temporary credentials (`roles` fetches them) are renewed well before they end, on a thread of their
own: no signature ever waits. A renewal that fails is tried again, and keeps the old credentials
while they are valid.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

from relay.provider.list_ai_job.rules.signing import Credentials

RENEW_AFTER = 0.6  # of the time that credentials are good for; the rest is for renewals that fail
RENEW_JITTER = 0.1  # of that time, later, so that a fleet started at once does not renew at once
LAST_USE = 10.0  # seconds before they end: a call signed with them may take as long
LONGEST_USE = 43_200.0  # seconds; no role of the provider's lasts longer, whatever an answer says
LONGEST_PAUSE = 30.0  # seconds between two renewals that fail, before jitter


@dataclass(frozen=True, slots=True)
class NotGiven:
    """There are no valid credentials; `reason` is a sentence with nothing secret in it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Temporary:
    """Credentials that are good for so many seconds from now."""

    credentials: Credentials
    seconds: float


CredentialsProvider = Callable[[], Credentials | NotGiven]
"""Returns at once: credentials that are valid now, or why there are none."""

Fetch = Callable[[], Temporary | NotGiven]
"""Asks for new temporary credentials; takes some seconds at most, and raises nothing."""


def static(
    access_key_id: str, access_key_secret: str, security_token: str | None = None
) -> CredentialsProvider:
    """Always the same: an access key of the settings, or STS credentials renewed elsewhere."""
    credentials = Credentials(access_key_id, access_key_secret, security_token)
    return lambda: credentials


class Renewal:
    """A CredentialsProvider of temporary credentials, once started.

    `on_renewed` is called with the seconds that the new ones are good for; `on_failed` with a
    reason, the seconds that the old ones are still good for, and those until the next try. `jitter`
    makes random numbers in [0, 1).
    """

    def __init__(
        self,
        fetch: Fetch,
        jitter: Callable[[], float],
        *,
        on_renewed: Callable[[float], None] = lambda _seconds: None,
        on_failed: Callable[[str, float, float], None] = lambda _reason, _left, _retry_in: None,
    ) -> None:
        self._fetch = fetch
        self._jitter = jitter
        self._on_renewed = on_renewed
        self._on_failed = on_failed
        self._held: tuple[Credentials, float] | None = None  # and their end, on the monotonic clock
        self._reason = "The first credentials have not come yet."
        self._failures = 0
        self._stop = Event()
        self._thread = Thread(target=self._keep_renewing, name="credentials", daemon=True)

    def __call__(self) -> Credentials | NotGiven:
        """The credentials in use, while they are valid."""
        held = self._held
        if held is not None and time.monotonic() < held[1]:
            return held[0]
        return NotGiven(self._reason)

    def start(self) -> None:
        """Fetch the first ones and keep them fresh, from a thread."""
        self._thread.start()

    def close(self) -> None:
        """Renew no more; a fetch under way ends by itself."""
        self._stop.set()

    def _keep_renewing(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                pause = self._renew()
            except Exception as error:  # noqa: BLE001 - without this thread the poller would stop in an hour
                pause = self._go_without(f"Fetching them failed unexpectedly with {type(error).__name__}.")

    def _renew(self) -> float:
        """Fetch once; returns the seconds until the next time."""
        match self._fetch():
            case Temporary() as fresh if fresh.seconds > 0:
                return self._take(fresh)
            case Temporary():
                return self._go_without("The credentials that came had already ended.")
            case NotGiven(reason=reason):
                return self._go_without(reason)

    def _take(self, fresh: Temporary) -> float:
        """Use the new ones from now on; returns the seconds until the next renewal."""
        seconds = min(fresh.seconds, LONGEST_USE)
        good_for = seconds - min(LAST_USE, seconds / 10)
        self._held = (fresh.credentials, time.monotonic() + good_for)
        self._failures = 0
        self._on_renewed(good_for)
        return good_for * (RENEW_AFTER + RENEW_JITTER * self._jitter())

    def _go_without(self, reason: str) -> float:
        """Keep what there is; returns the seconds until the next try."""
        self._reason = reason
        self._failures += 1
        pause = min(2.0 ** min(self._failures - 1, 10), LONGEST_PAUSE) * (0.5 + self._jitter())
        left = 0.0 if self._held is None else max(self._held[1] - time.monotonic(), 0.0)
        self._on_failed(reason, left, pause)
        return pause
