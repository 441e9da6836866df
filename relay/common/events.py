"""The events of webhooks: how one is declared, and those of the relay itself.

Each source of jobs declares its own beside its client. `relay.provider.registry` has them all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from relay.common.states import WatchStatus

EVENT_LENGTH = 32  # characters of one name: `deliveries.event`
EVENTS_LENGTH = 1_000  # of the names of a watch, joined by commas: `watches.events`


@dataclass(frozen=True, slots=True)
class EventType:
    """Declares one event; its name is the `type` of the webhook.

    `when` completes the sentence "it is sent when …". `ends` is the end of a watch that causes it;
    without one, something else enqueues its deliveries. A watch may ask for it where it
    `is_watchable`, and gets it without asking where it is so `by_default`: never for a new event,
    as those who named no events did not ask for it.
    """

    name: str
    when: str
    ends: WatchStatus | None = None
    is_watchable: bool = True
    by_default: bool = False

    @property
    def has_result(self) -> bool:
        """Whether its webhook carries the source's result, which is final as the job has ended."""
        return self.ends in {WatchStatus.SUCCESS, WatchStatus.FAIL}


WATCH_EXPIRED = EventType(
    "watch.expired", "the watch's time is up before its job ends", WatchStatus.EXPIRED, by_default=True
)
ENDPOINT_DISABLED = EventType(
    "endpoint.disabled", "another endpoint of the subscriber is disabled", is_watchable=False
)
TEST = EventType("relay.test", "somebody sends a test to the endpoint", is_watchable=False)

OF_THE_RELAY = (WATCH_EXPIRED, ENDPOINT_DISABLED, TEST)


def join(names: Iterable[str]) -> str:
    """Event names as a watch stores them; raises ValueError if they exceed its column."""
    text = ",".join(names)
    if len(text) > EVENTS_LENGTH:
        raise ValueError(f"the names of the events are longer than {EVENTS_LENGTH:,} characters together")
    return text
