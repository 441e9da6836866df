"""What the outcome of a call means: its name, whether the source is down, which jobs it ends."""

from relay.common.states import JobStatus
from relay.provider.source import JobReport, Outcome, RefusalKind, Refused, Unreachable, Unreadable

Failure = Refused | Unreachable | Unreadable


def is_down(failure: Failure) -> bool:
    """Whether the source refuses all calls, until a person changes something."""
    return isinstance(failure, Refused) and failure.kind in {RefusalKind.DENIED, RefusalKind.BAD_IDS}


def outcome_word(outcome: Outcome) -> str:
    """The outcome as metrics and logs name it."""
    return outcome.kind.value if isinstance(outcome, Refused) else type(outcome).__name__.lower()


def code_and_detail(failure: Failure) -> tuple[str, str]:
    """A failure as people read it: a short code and a sentence."""
    if isinstance(failure, Refused):
        return failure.code or f"HTTP {failure.http_status}", failure.message or "no message"
    return type(failure).__name__, failure.reason


def report_of_lost(job_id: str, lost_count: int) -> JobReport:
    """The end of a job with which one process after the other died."""
    return JobReport(
        job_id,
        JobStatus.FAIL,
        code="Relay.PollLost",
        message=f"given up: {lost_count} polls of this job in a row were lost with their process",
    )


def report_of_refused(job_id: str, refusal: Refused) -> JobReport:
    """The end of a job whose id the source refuses, with the source's code."""
    return JobReport(job_id, JobStatus.FAIL, code=refusal.code, message=refusal.message)
