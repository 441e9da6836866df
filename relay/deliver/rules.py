"""What the settings say of delivering."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.core.ids import Mint, MintMany
from relay.core.records import Micros


@dataclass(frozen=True, slots=True)
class DeliverRules:
    """Durations are in microseconds unless they say seconds; `retry_seconds` is the schedule."""

    lease: Micros
    attempt_seconds: float
    retry_seconds: Sequence[float]
    max_in_flight: int
    user_agent: str
    mint: Mint
    mint_many: MintMany
    new_token: Callable[[], str]
    dice: Callable[[], float]
