"""Typed views of a job's result: names and numbers instead of the provider's `Data`.

    AIVideoTag  {"kind": "video_tags", "tags": {"person": [{"tag", "times_ms", "face_url"}],
                 "time": …, "location": …, "keyword": …, "category": …}, "speech": {"duration_ms",
                 "lines": [{"start_ms", "end_ms", "text", "channel", "rate"}]} or null}
    AIMediaDNA  {"kind": "media_dna", "matches": [{"media_id", "similarity", "parts": [{"input":
                 {"start_ms", "duration_ms"}, "match": {"start_ms", "duration_ms"}}]}]}

The provider writes numbers as numbers or as texts; tags and speech count milliseconds, DNA counts
seconds. An absent member is empty or null here. A `Data` of any other shape, or of more than 8 Mi
characters, has no view; the verbatim text stays.
"""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from relay.provider.list_ai_job.rules.decoder import clean

T = TypeVar("T")
Document = dict[str, Any]

LONGEST = 8 << 20  # characters of `Data`: as long as the provider itself sends; more would hold up a reader
LARGEST = 1 << 53  # whole numbers beyond this differ between readers of JSON

TAG_GROUPS = ("Person", "Time", "Location", "Keyword", "Category")


def view(job_type: str | None, data: str | None) -> Document | None:
    """The view of a job's `Data` by its type; None for other types and shapes. Never raises."""
    types = {name.strip().lower() for name in (job_type or "").split(",")}
    readers = [reader for name, reader in _READERS.items() if name in types]
    if not readers or data is None or len(data) > LONGEST:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return next((found for reader in readers if (found := _try(reader, document)) is not None), None)


def _try(reader: Callable[[Document], Document], document: object) -> Document | None:
    try:
        return reader(_object(document))
    except _OtherShape:
        return None


class _OtherShape(Exception):
    """A part of a result is of another shape than is known."""


def _video_tags(data: Document) -> Document:
    if not data.keys() & {*TAG_GROUPS, "OrigASRData"}:
        raise _OtherShape
    speech = data.get("OrigASRData")
    return {
        "kind": "video_tags",
        "tags": {group.lower(): [_tag(tag) for tag in _list(data.get(group))] for group in TAG_GROUPS},
        "speech": None if speech is None else _speech(_object(speech)),
    }


def _tag(value: object) -> Document:
    tag = _object(value)
    return {
        "tag": _required(_text(tag.get("Tag"))),
        "times_ms": [_required(_whole(time)) for time in _list(tag.get("Times"))],
        "face_url": _text(tag.get("FaceUrl")),
    }


def _speech(speech: Document) -> Document:
    return {
        "duration_ms": _whole(speech.get("Duration")),
        "lines": [_line(line) for line in _list(speech.get("AsrTextList"))],
    }


def _line(value: object) -> Document:
    line = _object(value)
    return {
        "start_ms": _whole(line.get("StartTime")),
        "end_ms": _whole(line.get("EndTime")),
        "text": _required(_text(line.get("Text"))),
        "channel": _whole(line.get("ChannelId")),
        "rate": _whole(line.get("SpeechRate")),
    }


def _media_dna(data: Document) -> Document:
    if "VideoDNA" not in data:
        raise _OtherShape
    return {"kind": "media_dna", "matches": [_match(match) for match in _list(data["VideoDNA"])]}


def _match(value: object) -> Document:
    match = _object(value)
    return {
        "media_id": _required(_text(match.get("PrimaryKey"))),
        "similarity": _number(match.get("Similarity")),
        "parts": [_part(part) for part in _list(match.get("Detail"))],
    }


def _part(value: object) -> Document:
    part = _object(value)
    return {"input": _stretch(part.get("Input")), "match": _stretch(part.get("Duplication"))}


def _stretch(value: object) -> Document | None:
    if value is None:
        return None
    stretch = _object(value)
    return {
        "start_ms": _milliseconds(stretch.get("Start")),
        "duration_ms": _milliseconds(stretch.get("Duration")),
    }


_READERS = {"aivideotag": _video_tags, "aimediadna": _media_dna}


# The parts of shapes. An absent part is None, or an empty list.


def _object(value: object) -> Document:
    if not isinstance(value, dict):
        raise _OtherShape
    return value


def _list(value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _OtherShape
    return value


def _text(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _OtherShape
    return clean(value)


def _required(value: T | None) -> T:
    if value is None:
        raise _OtherShape
    return value


_NUMBER = re.compile(r"\s*-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\s*", re.ASCII)


def _number(value: object) -> float | None:
    """A finite number, also written as a text."""
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _OtherShape
    if not abs(value) <= LARGEST:  # in this form it is false for NaN too, and asks no int to become a float
        raise _OtherShape
    return float(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _milliseconds(seconds: object) -> int | None:
    number = _number(seconds)
    return None if number is None else _whole(number * 1000)
