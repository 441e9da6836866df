"""The body of a webhook: Standard Webhooks' `type`, `timestamp` and `data`, rendered when it is sent.

A body is the same bytes at every attempt: it is made only from what no longer changes. The provider's `Data`
is spliced in verbatim where it is strict JSON (reading and writing it again would change numbers and drop
duplicate keys), else it is a JSON string.
"""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from relay.core.records import JobReport, Micros
from relay.core.states import Event, JobStatus

BODY_LIMIT = 1 << 20  # bytes of a whole body; beyond it `data` is left out and fetched over the API
DATA_LIMIT = BODY_LIMIT  # bytes of `Data` beyond which no body can hold it

_ENDED = (Event.JOB_SUCCESS, Event.JOB_FAIL)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Ended(NamedTuple):
    """Tells of a watch's end.

    `metadata` is the JSON text the subscriber gave. `data_bytes` is the stored length of the provider's
    `Data`; where `job.data` is None although it is not 0, the data was too large to be read.
    """

    event: Event
    created_at: Micros
    watch_id: str
    metadata: str
    job: JobReport
    data_bytes: int


class Notice(NamedTuple):
    """Tells of something else; `content` is its `data` as JSON text."""

    event: Event
    created_at: Micros
    content: str


Message = Ended | Notice


def render(message: Message) -> bytes:
    """The body of the webhook that carries a message; the same bytes each time."""
    match message:
        case Ended():
            return _render_ended(message)
        case Notice(event, created_at, content):
            return f'{{"type":"{event}","timestamp":"{rfc3339(created_at)}","data":{content}}}'.encode()


def _render_ended(message: Ended) -> bytes:
    job = message.job
    if message.event not in _ENDED:
        # What the provider says of such a job may still change; that it is open is what was true then.
        return _body(message, _compact({"job_id": job.job_id, "status": JobStatus.OPEN}))
    if job.data is not None or message.data_bytes == 0:
        body = _body(message, f'{_compact(_facts(job))[:-1]},"data":{_data_text(job)}}}')
        if len(body) <= BODY_LIMIT:
            return body
    omitted = {"data_omitted": True, "data_url": f"/v1/jobs/{job.job_id}"}
    return _body(message, _compact(_facts(job) | omitted))


def rfc3339(at: Micros) -> str:
    """RFC 3339 in UTC with milliseconds."""
    seconds, micros = divmod(at, 1_000_000)
    return f"{_to_the_second(seconds)}.{micros // 1000:03d}Z"


@lru_cache(256)
def _to_the_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _facts(job: JobReport) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "type": job.type,
        "status": job.status,
        "code": job.code,
        "message": job.message,
        "media_id": job.media_id,
        "creation_time": job.creation_time,
        "complete_time": job.complete_time,
    }


def _data_text(job: JobReport) -> str:
    """The JSON text that stands for the provider's `Data`."""
    if job.data is None:
        return "null"
    return job.data.strip(" \t\r\n") if job.data_is_json else _compact(job.data)


def _body(message: Ended, job: str) -> bytes:
    """Put the parts together; the metadata and `job` are JSON texts already."""
    timestamp, watch_id = rfc3339(message.created_at), message.watch_id
    head = f'{{"type":"{message.event}","timestamp":"{timestamp}","data":{{"watch_id":"{watch_id}"'
    return f'{head},"metadata":{message.metadata},"job":{job}}}}}'.encode()


def _compact(value: Any) -> str:
    return _ENCODER.encode(value)
