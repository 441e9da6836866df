"""What a batch of answers changes of an endpoint: circuit breaker, last error, disabling."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from relay.common.states import DisabledReason
from relay.common.time import Micros
from relay.endpoints.rules.circuit_breaker import CircuitBreaker


class EndpointLimits(NamedTuple):
    """What a subscriber allows an endpoint: columns of its row and members of the API alike."""

    max_in_flight: int = 10
    rate_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A change in an endpoint's health that people are notified of."""

    endpoint_id: str
    became: Literal["open", "closed", "disabled"]
    detail: str


@dataclass(slots=True)
class EndpointUpdate:
    """An endpoint as its row has it, and as the answers of a batch make it, one by one."""

    endpoint_id: str
    limits: EndpointLimits
    was_disabled: bool
    stored: CircuitBreaker
    circuit: CircuitBreaker
    last_error: str | None = None
    disabled_reason: DisabledReason | None = None

    @property
    def is_disabled(self) -> bool:
        """Whether its deliveries are held, from before or by this batch."""
        return self.was_disabled or self.disabled_reason is not None

    @property
    def becomes_disabled(self) -> bool:
        """Whether this batch disables it."""
        return self.disabled_reason is not None and not self.was_disabled

    @property
    def has_changed(self) -> bool:
        """Whether its row is to be written."""
        return self.last_error is not None or self.circuit is not self.stored

    def note_success(self, now: Micros) -> None:
        """Learn from a 2xx."""
        self.circuit = self.circuit.after_success(now, self.limits.max_in_flight)

    def note_failure(
        self, error: str | None, status_code: int | None, now: Micros, *, started_at: Micros, jitter: float
    ) -> None:
        """Learn from a failed attempt; `error` says in words what failed."""
        self.circuit = self.circuit.after_failure(now, started_at=started_at, jitter=jitter)
        self.last_error = error
        self.disabled_reason = self.disabled_reason or self.circuit.disable_reason(now, status_code)

    def change(self) -> HealthChange | None:
        """The change of health to notify of, if there is one."""
        if self.becomes_disabled:
            return HealthChange(self.endpoint_id, "disabled", self.disabled_reason or "")
        if self.circuit.is_open == self.stored.is_open:
            return None
        if self.circuit.is_open:
            return HealthChange(self.endpoint_id, "open", self.last_error or "")
        return HealthChange(self.endpoint_id, "closed", "")
