"""The protocol of a source of jobs: how it is declared, how it is asked, and what it answers.

A declaration (`JobSource`) is plain data that every process may import; only a poller connects.
Times are integer microseconds since the epoch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from relay.common.events import WATCH_EXPIRED, EventType
from relay.common.states import JobStatus, WatchStatus
from relay.common.time import Micros
from relay.settings import Settings


class JobReport(NamedTuple):
    """One job in an answer.

    Texts are the source's own, None where absent, with NUL and lone surrogates replaced by U+FFFD
    so that every database takes them. `data` is the result's text; `data_is_json` says
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
    """The answer to one call; no id is in both `reports` and `missing`."""

    reports: dict[str, JobReport]
    missing: frozenset[str]
    request_id: str | None


class RefusalKind(StrEnum):
    """The reaction to a refusal."""

    THROTTLED = "throttled"
    """Ask less often, and not before `retry_after`."""
    TRANSIENT = "transient"
    """Back off and ask again."""
    SIGN_AGAIN = "sign_again"
    """Sign anew, with another nonce and the source's time, and ask again at once."""
    DENIED = "denied"
    """Nothing will be answered until a person changes key, rights, account or settings."""
    BAD_IDS = "bad_ids"
    """One of the ids poisons the batch: split it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal of one call; texts are the source's own, None where absent."""

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


class SourceClient(Protocol):
    """Asks a source of jobs; a poller's threads share it."""

    def ask(self, job_ids: Sequence[str]) -> Outcome:
        """Ask once about at most `ids_per_call` jobs."""

    def why_not(self) -> str | None:
        """Why no call can be made now: a sentence without valid credentials, else None."""

    def close(self) -> None:
        """Give up what it holds; it is not asked again."""


TypedResult = Callable[[str | None, str], dict[str, Any] | None]
"""Makes the typed view of a result of a job's type and its `data` as JSON text; else None."""


@dataclass(frozen=True, slots=True)
class JobSource:
    """Declares a source of jobs.

    `name` is what every column called `source` stores. `connect` makes a client from the settings,
    and raises SettingsError where they do not allow it. `calls_per_second` is its rate limit for
    the whole fleet. `sandbox` names the module of its stand-in on this machine, which has
    `serve(host, port)`; a name, as the sandbox stands above the sources.
    """

    name: str
    ids_per_call: int
    events: tuple[EventType, ...]
    connect: Callable[[Settings], SourceClient]
    calls_per_second: Callable[[Settings], float]
    typed_result: TypedResult = lambda _type, _data: None
    sandbox: str | None = None

    @property
    def watchable(self) -> list[str]:
        """The events that a watch on its jobs may ask for, in the order of storage."""
        return [event.name for event in (*self.events, WATCH_EXPIRED) if event.is_watchable]

    @property
    def default_events(self) -> list[str]:
        """The events of a watch that asks for none in particular."""
        return [event.name for event in (*self.events, WATCH_EXPIRED) if event.by_default]

    def event_of(self, ending: WatchStatus) -> str | None:
        """The event of this end of a watch; None where nobody is notified of it."""
        return next((event.name for event in self.events if event.ends is ending), None)
