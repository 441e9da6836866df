"""The small frozen values that the stages hand each other; tuples, as some go to another process.

Times are integer microseconds since the epoch.
"""

from typing import NamedTuple

from relay.core.states import ErrorClass, JobStatus

Micros = int
SECOND: Micros = 1_000_000


class JobReport(NamedTuple):
    """What one ListAIJob answer says of one job.

    Texts are the provider's own, None where absent, with NUL and lone surrogates replaced by U+FFFD so that
    every database takes them. `data` is the provider's `Data` text; `data_is_json` says that it is strict
    JSON no deeper than 200 levels, so that a webhook may carry it verbatim.
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


class Reply(NamedTuple):
    """What came of one attempt.

    A reply with `error` None was delivered: a 2xx whose headers came whole. `detail` is a sentence for people
    with no secret in it. `body` is the start of what the receiver answered (at most 16 KiB, 1 KiB after a
    2xx). `retry_after` is the raw header, judged by `schedule`.
    """

    key: str
    status_code: int | None
    error: ErrorClass | None
    detail: str | None
    body: bytes
    duration: Micros
    retry_after: str | None = None
