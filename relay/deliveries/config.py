"""What the settings say of delivering."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.common.ids import NewId, NewIds
from relay.common.time import Micros


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Durations are in microseconds unless they say seconds; `retry_seconds` is the schedule."""

    lease: Micros
    attempt_seconds: float
    retry_delays: Sequence[float]
    max_in_flight: int
    user_agent: str
    new_id: NewId
    new_ids: NewIds
    new_token: Callable[[], str]
    rng: Callable[[], float]
