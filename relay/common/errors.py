"""The tree of all errors that are raised on purpose; everything else is a bug."""

from dataclasses import dataclass
from types import TracebackType


class RelayError(Exception):
    """The root of the tree."""


class SettingsError(RelayError):
    """Every problem of the settings at once, a sentence each; the process exits with 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UnreadableAnswer(RelayError):
    """An answer of the provider that can't be read; the sentence says why and quotes nothing."""


class StoreUnavailable(RelayError):
    """The database can't be reached, or a transaction kept failing."""

    retry_after = 2  # seconds


class SenderDied(RelayError):
    """The process that sends for a dispatcher is gone; `abandoned` attempts have no end."""

    abandoned = 0


class Refusal(RelayError):
    """A caller's request that can't be done; the message is for the caller and echoes nothing."""


class NotFound(Refusal):
    """No such thing for this caller; it may belong to another subscriber."""


class Conflict(Refusal):
    """The thing is not in a state that allows it; the message names what does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong member of a body: a JSON pointer and a sentence that says what is allowed."""

    pointer: str
    detail: str


class Invalid(Refusal):
    """A well-formed body that breaks rules; `faults` names each."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = faults


class QuotaExceeded(Refusal):
    """The subscriber has as many of these as it may; the message says what to do instead."""


def whereabouts(error: BaseException) -> str:
    """Name the class of an error and of its causes, and where each was raised, innermost last.

    The errors' own texts are left out: a driver or a library may have put a URL, a row or a secret
    into them.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{whereabouts(cause)}, then " if cause is not None else ""
    return f"{before}{type(error).__name__} at {_places(error.__traceback__)}"


def _places(trace: TracebackType | None) -> str:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{'/'.join(code.co_filename.split('/')[-2:])}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " > ".join(places) or "nowhere"
