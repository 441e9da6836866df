"""Parses responses of ListAIJob: an answer about jobs, or a refusal and its kind.

Only jobs that were asked about are reported. An id that the answer leaves out, names twice with
different words, or calls both existing and not, is in no result: the job is asked about again.
Shapes and codes are those of the provider's page, its SDKs and its error tables.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping

from relay.common.errors import UnreadableAnswer
from relay.common.states import JobStatus
from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.decoder import clean, data_is_json, read_document
from relay.provider.source import Answer, JobReport, RefusalKind, Refused

IDS_PER_CALL = 10  # by the provider's page


def read_answer(content_type: str | None, body: bytes, asked: Collection[str]) -> Answer:
    """Read the body of a 200 about the `asked` ids; raises `UnreadableAnswer` and nothing else."""
    document = read_document(content_type, body)
    if not isinstance(document, dict) or not document.keys() & {"AIJobList", "NonExistAIJobIds"}:
        raise UnreadableAnswer("The answer names neither AIJobList nor NonExistAIJobIds.")
    ids = frozenset(asked)
    reports = _reports(_items(document.get("AIJobList"), "AIJob"), ids)
    missing = ids & set(_ids(_items(document.get("NonExistAIJobIds"), "String"), ids))
    return Answer(
        reports={
            job_id: found.pop()
            for job_id, found in reports.items()
            if len(found) == 1 and job_id not in missing
        },
        missing=missing - reports.keys(),
        request_id=_text(document.get("RequestId")),
    )


def _items(holder: object, name: str) -> list[object]:
    """The items in `{name: [...]}`, which may be a bare list, one item alone, or absent."""
    items = holder.get(name) if isinstance(holder, dict) else holder
    match items:
        case None | "":
            return []
        case list():
            return items
        case dict() | str():
            return [items]
        case _:
            raise UnreadableAnswer(f"The answer's list of {name} is no list.")


def _reports(items: list[object], asked: frozenset[str]) -> dict[str, set[JobReport]]:
    """The reports of each id that was asked about: one, or several that disagree."""
    reports: dict[str, set[JobReport]] = {}
    for item in items:
        job_id = _text(item.get("JobId")) if isinstance(item, dict) else None
        if isinstance(item, dict) and job_id in asked:
            reports.setdefault(job_id, set()).add(_report(job_id, item))
    return reports


def _report(job_id: str, item: dict[str, object]) -> JobReport:
    data = _data(item.get("Data"))
    return JobReport(
        job_id=job_id,
        status=_status(item.get("Status")),
        type=_text(item.get("Type")),
        code=_text(item.get("Code")),
        message=_text(item.get("Message")),
        media_id=_text(item.get("MediaId")),
        creation_time=_text(item.get("CreationTime")),
        complete_time=_text(item.get("CompleteTime")),
        data=data,
        data_is_json=data is not None and data_is_json(data),
    )


def _status(value: object) -> JobStatus:
    """Only `success` and `fail`, in any letter case, end a job; no other word does."""
    match (_text(value) or "").strip().lower():
        case "success":
            return JobStatus.SUCCESS
        case "fail":
            return JobStatus.FAIL
        case _:
            return JobStatus.OPEN


def _text(value: object) -> str | None:
    """A text, or a whole number where a text belongs (`"Code": 0`); anything else says nothing."""
    match value:
        case str():
            return clean(value)
        case int() if not isinstance(value, bool):
            return str(value)
        case _:
            return None


def _data(value: object) -> str | None:
    """`Data` is JSON text; where it comes as the JSON itself, it is written as a compact text."""
    if not isinstance(value, dict | list):
        return _text(value)
    try:
        return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        raise UnreadableAnswer("The answer nests a job's Data too deep.") from None


def _ids(items: list[object], asked: frozenset[str]) -> Iterator[str]:
    """The ids in items that are an id, ids joined by commas, or a JSON list (as on the page)."""
    for item in items:
        text = _text(item)
        if text is None:
            continue
        if text in asked:
            yield text
        elif text.lstrip().startswith("["):
            yield from _json_ids(text)
        else:
            yield from (part.strip() for part in text.split(","))


def _json_ids(text: str) -> Iterator[str]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from (job_id for job_id in map(_text, values) if job_id is not None)


def read_refusal(http_status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """Read an error answer of the provider or of a gateway before it; never raises."""
    lowered = {name.lower(): value for name, value in headers.items()}
    try:
        document = read_document(lowered.get("content-type"), body)
    except UnreadableAnswer:
        document = None
    fields = document if isinstance(document, dict) else {}
    code = _text(fields.get("Code"))
    return Refused(
        kind=_refusal_kind(http_status, code),
        code=code,
        message=_without_echo(_text(fields.get("Message"))),
        request_id=_text(fields.get("RequestId")),
        retry_after=_retry_after(lowered.get("x-acs-retry-after", "")),
        http_status=http_status,
    )


# The first row with a prefix of the code, in any letter case (documents write both TimeStamp and
# Timestamp). `Missing…` and `Invalid…` of anything but the ids must come before the last row, or a
# wrong key or a wrong region would end every job as failed.
_KINDS: tuple[tuple[RefusalKind, tuple[str, ...]], ...] = (
    (RefusalKind.THROTTLED, ("throttling",)),
    (RefusalKind.SIGN_AGAIN, ("signaturenonceused", "invalidtimestamp")),
    (RefusalKind.DENIED, ("signaturedoesnotmatch", "incompletesignature", "forbidden")),
    (RefusalKind.DENIED, ("operationdenied", "unauthorized", "nopermission")),
    (
        RefusalKind.DENIED,
        tuple(
            adjective + parameter
            for adjective in ("missing", "invalid")
            for parameter in (
                *("accesskey", "securitytoken", "signature", "authorization", "timestamp"),
                *("action", "version", "format", "protocol", "method", "host", "region", "api", "product"),
                *("account", "user"),
            )
        ),
    ),
    (RefusalKind.BAD_IDS, ("missing", "invalid")),
)


def _refusal_kind(http_status: int, code: str | None) -> RefusalKind:
    """Decide by the code: documents disagree on statuses, so 429 counts only without a code."""
    if code is None:
        return RefusalKind.THROTTLED if http_status == 429 else RefusalKind.TRANSIENT
    lowered = code.lower()
    return next((kind for kind, starts in _KINDS if lowered.startswith(starts)), RefusalKind.TRANSIENT)


_ECHO = re.compile(r"\s*server\s*(string\s*to\s*sign|canonical).*", re.IGNORECASE | re.DOTALL)
_MESSAGE_LENGTH = 500  # a sentence for people; the provider's own are shorter


def _without_echo(message: str | None) -> str | None:
    """Cut off the string to sign, with its key id and STS token, which explains a mismatch."""
    return None if message is None else _ECHO.sub("", message)[:_MESSAGE_LENGTH]


_LONGEST_WAIT: Micros = 600 * US_PER_SECOND  # no limit of the provider lasts longer


def _retry_after(header: str) -> Micros | None:
    """Read `x-acs-retry-after` in milliseconds; zero and nonsense are no wait."""
    digits = header.strip()
    if not re.fullmatch(r"[0-9]{1,18}", digits) or int(digits) == 0:
        return None
    return min(int(digits) * 1_000, _LONGEST_WAIT)
