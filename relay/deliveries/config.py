"""The settings of one dispatcher, and its sources of ids, tokens and randomness."""

from collections.abc import Callable
from dataclasses import dataclass

from relay.common.ids import NewId, NewIds
from relay.common.time import Micros
from relay.deliveries.rules.retry_policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """The lease is in microseconds; `rng` returns a number in [0, 1)."""

    lease: Micros
    attempt_seconds: float
    policy: RetryPolicy
    max_in_flight: int
    user_agent: str
    new_id: NewId
    new_ids: NewIds
    new_token: Callable[[], str]
    rng: Callable[[], float]
