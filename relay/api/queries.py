"""The query of a list: page and filters. One that is unknown, repeated or wrong is refused with 422."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from flask import request

from relay.common.errors import Fault, Invalid
from relay.common.time import US_PER_SECOND, Micros
from relay.db import pagination
from relay.db.pagination import Page

DEFAULT_LIMIT = 50
MOST = 100  # things of one page

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:]{8}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")

Filter = Callable[[str], Any]  # reads a text; raises ValueError with what it must be


def read(goes_by: Filter, filters: Mapping[str, Filter]) -> tuple[Page, dict[str, Any]]:
    """Read the page of a list, and those of the filters that were given.

    `goes_by` reads what a cursor of the list stands for: an id or a number.
    """
    readers = {"limit": _limit, "cursor": _cursor(goes_by), **filters}
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name, texts in request.args.lists():
        if name not in readers:
            faults.append(
                Fault("", f"holds a parameter that is not known here; known are {', '.join(readers)}")
            )
        elif len(texts) > 1:
            faults.append(Fault(f"/{name}", "must be given only once"))
        else:
            _read_one(name, texts[0], readers[name], values, faults)
    if faults:
        raise Invalid(list(dict.fromkeys(faults)))
    return Page(values.pop("limit", DEFAULT_LIMIT), values.pop("cursor", None)), values


def _read_one(name: str, text: str, reader: Filter, values: dict[str, Any], faults: list[Fault]) -> None:
    try:
        values[name] = reader(text)
    except ValueError as error:
        faults.append(Fault(f"/{name}", str(error)))


def one_of(words: Collection[str]) -> Filter:
    """A filter that takes one of these words."""

    def reader(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return reader


def id_of(prefix: str) -> Filter:
    """A filter that takes an id with this prefix."""

    def reader(text: str) -> str:
        if not pagination.is_id(prefix, text):
            raise ValueError(f"must be an id that begins with {prefix}_")
        return text

    return reader


def number(text: str) -> int:
    """Take a number that every database's integers can hold."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("must be a whole number of at most 9 digits")
    return int(text)


def job_id(text: str) -> str:
    """Take a JobId."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("must be 1 to 64 letters, digits, _ or -")
    return text


def time(text: str) -> Micros:
    """Take an RFC 3339 time with its zone, in microseconds."""
    wrong = ValueError("must be an RFC 3339 time with its zone, as in 2026-01-02T03:04:05Z")
    if not _TIME.fullmatch(text):
        raise wrong
    try:
        seconds = datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        raise wrong from None
    return max(round(seconds * US_PER_SECOND), 0)


def _limit(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MOST:
        raise ValueError(f"must be a whole number from 1 to {MOST}")
    return int(text)


def _cursor(goes_by: Filter) -> Filter:
    def reader(text: str) -> Any:
        try:
            return goes_by(pagination.read_cursor(text))
        except ValueError:
            raise ValueError("is not a next_cursor of this list; begin again without one") from None

    return reader
