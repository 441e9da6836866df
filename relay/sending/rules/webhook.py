"""Renders the body of a webhook: Standard Webhooks' `type`, `timestamp` and `data`.

A body is the same bytes at every attempt: it is made only of values that no longer change. The
provider's `Data` is spliced in verbatim where it is strict JSON (reading and writing it again would
change numbers and drop duplicate keys), else it is a JSON string.
"""

from json.encoder import encode_basestring
from typing import NamedTuple

from relay.common.states import JobStatus
from relay.common.time import Micros, rfc3339

BODY_LIMIT = 1 << 20  # bytes of a whole body; beyond it `data` is left out and fetched over the API
DATA_LIMIT = BODY_LIMIT  # bytes of `Data` beyond which no body can hold it


class Ended(NamedTuple):
    """A watch's end, in plain values as they are stored.

    `metadata` is the JSON text the subscriber gave. The fields from `job_id` on are a JobReport's.
    `data_bytes` is the stored length of the provider's `Data`; where `data` is None although it is
    not 0, the data was too large to be read. `job_query` follows the job's path in the API; None
    for an event that carries no result.
    """

    event: str
    created_at: Micros
    watch_id: str
    metadata: str
    job_id: str
    status: str
    type: str | None
    code: str | None
    message: str | None
    media_id: str | None
    creation_time: str | None
    complete_time: str | None
    data: str | None
    data_is_json: int
    data_bytes: int
    job_query: str | None


class Notice(NamedTuple):
    """Any other event; `content` is its `data` as JSON text."""

    event: str
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
    if message.job_query is None:
        # What the provider says of such a job may still change, but not that it was open then.
        return _body(message, f'{{"job_id":{_text(message.job_id)},"status":"{JobStatus.OPEN}"}}')
    facts = _facts(message)
    if message.data is not None or message.data_bytes == 0:
        body = _body(message, f'{{{facts},"data":{data_text(message.data, message.data_is_json)}}}')
        if len(body) <= BODY_LIMIT:
            return body
    omitted = f'"data_omitted":true,"data_url":{_text(f"/v1/jobs/{message.job_id}{message.job_query}")}'
    return _body(message, f"{{{facts},{omitted}}}")


def _facts(job: Ended) -> str:
    """The members that describe a job, as JSON text without the braces."""
    return (
        f'"job_id":{_text(job.job_id)},"type":{_text(job.type)},"status":{_text(job.status)}'
        f',"code":{_text(job.code)},"message":{_text(job.message)},"media_id":{_text(job.media_id)}'
        f',"creation_time":{_text(job.creation_time)},"complete_time":{_text(job.complete_time)}'
    )


def data_text(data: str | None, is_json: int) -> str:
    """The JSON text that stands for the provider's `Data`."""
    return data.strip(" \t\r\n") if data is not None and is_json else _text(data)


def _body(message: Ended, job: str) -> bytes:
    """Put the parts together; the metadata and `job` are JSON texts already."""
    timestamp, watch_id = rfc3339(message.created_at), message.watch_id
    head = f'{{"type":"{message.event}","timestamp":"{timestamp}","data":{{"watch_id":"{watch_id}"'
    return f'{head},"metadata":{message.metadata},"job":{job}}}}}'.encode()


def _text(value: str | None) -> str:
    """A JSON string, or null; encoding whole objects costs three times as much here."""
    return "null" if value is None else encode_basestring(value)
