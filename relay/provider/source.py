"""What a source of jobs answers: reports of jobs, or why there is none.

Times are integer microseconds since the epoch.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relay.common.states import JobStatus
from relay.common.time import Micros

SOURCE = "default"  # one provider account and region for now


class JobReport(NamedTuple):
    """What one ListAIJob answer says of one job.

    Texts are the provider's own, None where absent, with NUL and lone surrogates replaced by U+FFFD
    so that every database takes them. `data` is the provider's `Data` text; `data_is_json` says
    that it is strict JSON no deeper than 200 levels, so that a webhook may carry it verbatim.
    """

    job_id: str
    status: JobStatus
    type: str | None = None
    code: str | None = None
    message: str | None = None
    media_id: str | None = None
    creation_time: str | None = None
    complete_time: str | None = None
    data: str | None = None
    data_is_json: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call told about the ids that were asked: `reports` and `missing` share none."""

    reports: dict[str, JobReport]
    missing: frozenset[str]
    request_id: str | None


class RefusalKind(StrEnum):
    """What a refusal calls for."""

    THROTTLED = "throttled"
    """Ask less often, and not before `retry_after`."""
    TRANSIENT = "transient"
    """Back off and ask again."""
    SIGN_AGAIN = "sign_again"
    """Sign anew, with another nonce and the provider's time, and ask again at once."""
    DENIED = "denied"
    """Nothing will be answered until a person changes key, rights, account or settings."""
    BAD_IDS = "bad_ids"
    """One of the ids poisons the batch: split it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider's refusal of one call; texts are its own, None where absent."""

    kind: RefusalKind
    code: str | None
    message: str | None
    request_id: str | None
    retry_after: Micros | None
    http_status: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole, readable answer, and how long the call took."""

    answer: Answer
    duration: Micros


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A 200 whose body is no answer; `reason` is a sentence that quotes nothing of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No whole answer came; `reason` is a sentence with no secret in it."""

    reason: str


Outcome = Answered | Refused | Unreadable | Unreachable
