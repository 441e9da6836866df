"""An attempt from its start to its recorded result, as values."""

from typing import NamedTuple

from relay.common.time import Micros
from relay.deliveries.rules.retry_policy import Decision
from relay.sending.rules.outbound import Reply


class InFlightAttempt(NamedTuple):
    """An attempt under way: whose claim it is, when it began (database time), and what it takes."""

    delivery_id: str
    token: str
    number: int
    endpoint_id: str
    subscriber_id: str
    cold: bool
    payload_bytes: int
    started_at: Micros


class AttemptResult(NamedTuple):
    """An attempt that has ended: its reply, and the id and jitter for its record."""

    attempt: InFlightAttempt
    reply: Reply
    attempt_id: str
    jitter: float


class RecordedResult(NamedTuple):
    """A result and its decision; None: the claim was no longer ours, nothing was written."""

    result: AttemptResult
    decision: Decision | None
