"""Every log event: its name in the log, its level, its fields and its sentence.

Lines carry ids, counts and statuses; never a key, a signature, a body, or the path and query of a
callback. Operators filter by names and fields, so these never change without need.
"""

from collections.abc import Mapping
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Literal

from relay.common.errors import whereabouts
from relay.common.states import DeliveryStatus, ErrorClass
from relay.common.time import Micros, rfc3339
from relay.telemetry.event import Event, Field

# The life of a process.


class ProcessStarted(Event, name="process_started"):
    text = "Relay {version} started."
    version: str


class ProcessStopping(Event, name="process_stopping"):
    text = "Stopping on {reason}: finishing what has begun."
    reason: str  # the signal's name


class ProcessStopped(Event, name="process_stopped"):
    abandoned: int = 0  # attempts without an end; others make them again when their leases end

    def severity(self) -> int:
        return WARNING if self.abandoned else INFO

    def sentence(self) -> str:
        return f"Stopped{f'; {self.abandoned} attempts were abandoned' if self.abandoned else ''}."


class MasterKeyMade(Event, name="master_key_made", level=WARNING):
    text = "Made a master key in {path}. Keep it with the database: without it no secret can be opened."
    path: str


class MetricsServed(Event, name="metrics_served"):
    text = "Metrics of {why} are served at {addr}."
    addr: str
    why: Literal["this process", "the fleet"]


class MetricsNotServed(Event, name="metrics_not_served", level=WARNING):
    text = (
        "Metrics can't be served at {addr} ({why}); going on without."
        " Each process needs a RELAY_METRICS_ADDR of its own."
    )
    addr: str
    why: str


# Watches and polls.


class WatchRegistered(Event, name="watch_registered"):
    text = "Registered {count} watches, {new} of them new."
    count: int
    new: int


class PollEnded(Event, name="poll_ended"):
    asked: int
    answered: int
    ended: int
    missing: int
    outcome: str  # "answered", or a short word for why there was no answer
    duration_ms: int

    def severity(self) -> int:
        if self.outcome != "answered":
            return WARNING
        return INFO if self.ended else DEBUG  # an unknown job is asked about again and again

    def sentence(self) -> str:
        asked = f"ListAIJob was asked about {self.asked} job{'' if self.asked == 1 else 's'}"
        if self.outcome != "answered":
            return f"{asked} and did not answer: {self.outcome}."
        return f"{asked}: {self.ended} ended, {self.missing} unknown to it."


class UpstreamDown(Event, name="upstream_down", level=ERROR):
    """The provider refuses our calls, not the jobs: watches wait, and it is probed each minute."""

    text = "The provider refuses our calls ({code}): {why}"
    code: str
    why: str  # a sentence


class UpstreamRecovered(Event, name="upstream_recovered"):
    text = "The provider answers again."


class UpstreamClockSkewed(Event, name="upstream_clock_skewed", level=WARNING):
    text = (
        "The provider's clock and this machine's differ by {seconds:+.0f} s. Calls are signed with the"
        " provider's time; is time synchronization running?"
    )
    seconds: float  # by which the provider's clock is ahead; negative: behind


class CredentialsRenewed(Event, name="credentials_renewed"):
    text = "New credentials of the provider came, good for {seconds} s."
    seconds: int


class CredentialsNotRenewed(Event, name="credentials_not_renewed"):
    why: str  # a sentence
    seconds_left: int  # for which the old ones are good; 0: there are none
    retry_in: int  # seconds

    def severity(self) -> int:
        return WARNING if self.seconds_left else ERROR

    def sentence(self) -> str:
        in_use = f"those in use are good for {self.seconds_left} s more"
        return (
            f"The provider's credentials could not be renewed: {self.why} Trying again in"
            f" {self.retry_in} s; {in_use if self.seconds_left else 'there are none to use'}."
        )


class ProviderEventReceived(Event, name="hint_received"):
    text = "VOD notified us of {named} jobs, {marked} of them waited for."
    named: int
    marked: int  # to be asked about next

    def severity(self) -> int:
        return INFO if self.marked else DEBUG

    def fields(self) -> dict[str, Field]:
        return {"named": self.named, "hinted": self.marked}


class ProviderEventRefused(Event, name="hint_refused", level=WARNING):
    text = (
        "A notification was refused: its signature is missing, wrong or old. RELAY_VOD_CALLBACK_URL and"
        " RELAY_VOD_CALLBACK_KEY must be exactly what is configured at VOD."
    )

    def repeat_key(self) -> tuple[str, ...]:
        return ()


class JobLost(Event, name="job_lost", level=WARNING):
    """The answer is dropped; whoever claims the job next asks anew."""

    text = "The claim of job {job_id} ran out before its answer was recorded."
    job_id: str


class PollGivenUp(Event, name="poll_given_up", level=ERROR):
    text = "Gave up on {job_ids}: each poller that asked about it died."
    job_ids: str  # joined by commas


# Deliveries and endpoints.


class AttemptEnded(Event, name="attempt_ended"):
    delivery_id: str
    endpoint_id: str
    number: int  # of the attempt, from 1
    status_code: int | None
    error: ErrorClass | None
    duration_us: Micros
    outcome: DeliveryStatus  # of the delivery after it
    next_attempt_at: Micros | None

    def severity(self) -> int:
        return WARNING if self.outcome is DeliveryStatus.FAILED else INFO

    def sentence(self) -> str:
        answer = f"was answered {self.status_code}" if self.status_code else f"failed ({self.error})"
        then = f"next at {rfc3339(self.next_attempt_at)}" if self.next_attempt_at else self.outcome.value
        return (
            f"Attempt {self.number} of {self.delivery_id} {answer} in {self.duration_us // 1000} ms: {then}."
        )

    def fields(self) -> dict[str, Field]:
        return {
            "delivery_id": self.delivery_id,
            "endpoint_id": self.endpoint_id,
            "number": self.number,
            "status_code": self.status_code,
            "error": self.error,
            "duration_ms": self.duration_us // 1000,
            "outcome": self.outcome,
            "next_attempt_at": rfc3339(self.next_attempt_at) if self.next_attempt_at else None,
        }


class SenderLost(Event, name="sender_died", level=ERROR):
    why: str
    abandoned: int  # attempts

    def sentence(self) -> str:
        attempts = f" {self.abandoned} attempts have no end; they are made again." if self.abandoned else ""
        return f"This dispatcher ends: {self.why}.{attempts}"


class AttemptsLost(Event, name="attempts_lost", level=WARNING):
    text = "{count} attempts had no end: their process died. They are made again, or given up."
    count: int


class PoisonMessageLost(Event, name="suspect_lost", level=ERROR):
    text = "{delivery_id}, sent by a process of its own as processes died with it before, was lost: {why}."
    delivery_id: str
    why: str


class DeliveryGivenUp(Event, name="delivery_given_up"):
    """A delivery ended because attempts were lost: too many, or one before it was cancelled."""

    delivery_id: str
    outcome: DeliveryStatus

    def severity(self) -> int:
        return ERROR if self.outcome is DeliveryStatus.FAILED else INFO

    def sentence(self) -> str:
        if self.outcome is DeliveryStatus.FAILED:
            return f"Gave up on {self.delivery_id}: each process that sent it died."
        return f"{self.delivery_id} was cancelled while it was out; the process that sent it died."


class EndpointChanged(Event, name="endpoint_turned"):
    endpoint_id: str
    became: Literal["open", "closed", "disabled"]
    detail: str

    def severity(self) -> int:
        return INFO if self.became == "closed" else WARNING

    def sentence(self) -> str:
        match self.became:
            case "open":
                return f"The circuit of {self.endpoint_id} opened: it is probed now and then ({self.detail})."
            case "closed":
                return f"The circuit of {self.endpoint_id} closed: it answers again."
            case "disabled":
                held = "its deliveries are held until it is resumed"
                return f"{self.endpoint_id} was disabled ({self.detail}): {held}."


# Housekeeping, and what nobody expected.


class WatchesExpired(Event, name="watches_expired"):
    text = "{count} watches expired."
    count: int


class SentAgain(Event, name="sent_again"):
    text = "{count} deliveries were made due again, as ordered."
    count: int


class OverdueFailed(Event, name="swept", level=WARNING):
    text = "{count} deliveries failed: {reason}."
    count: int
    reason: str


class Pruned(Event, name="pruned"):
    counts: Mapping[str, int]  # of deleted rows by table

    def sentence(self) -> str:
        return f"Pruned {', '.join(f'{count} {table}' for table, count in self.counts.items())}."

    def fields(self) -> dict[str, Field]:
        return dict(self.counts)


class ClockDisagrees(Event, name="clock_disagrees", level=WARNING):
    text = (
        "This machine's clock and the database's differ by {seconds:+.1f} s. The database's counts;"
        " is time synchronization running?"
    )
    seconds: float  # by which this machine's clock is ahead; negative: behind


class RequestFailed(Event, name="request_failed", level=ERROR):
    text = "A request failed unexpectedly with {error.__class__.__name__}; it was answered 500."
    error: BaseException

    def fields(self) -> dict[str, Field]:
        return {"error": _kind(self.error), "trace": whereabouts(self.error)}


class RequestRefused(Event, name="request_refused"):
    """A request was no HTTP. The error's text may quote it, so only its class is logged."""

    text = "A malformed request was answered {status} ({error.__class__.__name__})."
    status: int
    error: BaseException

    def fields(self) -> dict[str, Field]:
        return {"status": self.status, "error": _kind(self.error)}

    def repeat_key(self) -> tuple[str, ...]:
        return (_kind(self.error),)


class IterationFailed(Event, name="pass_failed", level=ERROR):
    """A loop's iteration failed. The error's text may hold secrets, so it is not logged."""

    text = "{stage} failed unexpectedly with {error.__class__.__name__}; trying again in {retry_in:g} s."
    stage: str
    error: BaseException
    retry_in: float  # seconds

    def fields(self) -> dict[str, Field]:
        return vars(self) | {"error": _kind(self.error), "trace": whereabouts(self.error)}

    def repeat_key(self) -> tuple[str, ...]:
        return (self.stage, _kind(self.error))


def _kind(error: BaseException) -> str:
    return type(error).__name__
