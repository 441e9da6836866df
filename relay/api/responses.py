"""JSON answers: documents, pages of a list, times."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from flask import Response

from relay.common.time import Micros, rfc3339
from relay.db.pagination import Page

Document = dict[str, Any]


def write_json(value: Any) -> str:
    """Write compact JSON with its letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_response(text: str, status: int = 200) -> Response:
    """A response of this JSON text."""
    return Response(text, status, content_type="application/json; charset=utf-8")


def show(document: Document) -> Response:
    """Answer 200 with this document."""
    return json_response(write_json(document))


def show_page(
    rows: Sequence[Any], page: Page, document: Callable[[Any], Document], goes_by: str = "id"
) -> Response:
    """Answer 200 with a page of rows, and the cursor of the next page if one more row was read."""
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    cursor = write_cursor(getattr(shown[-1], goes_by)) if more else None
    return show({"data": [document(row) for row in shown], "next_cursor": cursor})


def write_cursor(last: str | int) -> str:
    """The opaque text that stands for "older than this id, or this number"."""
    return base64.urlsafe_b64encode(str(last).encode()).decode().rstrip("=")


def shown_time(time_us: Micros | None) -> str | None:
    """A time as it is shown; None stays None."""
    return None if time_us is None else rfc3339(time_us)
