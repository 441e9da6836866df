"""Lists of what a subscriber reads: newest first, page by page, and how the rows' times are shown.

Ids sort by time, so a page goes on below the last id of the one before; attempts, which are
numbered, go by number. What belongs to another subscriber is not found. A document is a plain dict
in the API's shape.
"""

import base64
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select

from relay.common.time import Micros, rfc3339
from relay.db.engine import Tx

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` things, older than the thing with the id, or the number, `below`."""

    limit: int
    below: str | int | None = None


def is_id(prefix: str, text: str) -> bool:
    """Whether a text is spelled like an id; only such texts may be compared with ids in SQL."""
    return re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", text) is not None


def cursor(last: str | int) -> str:
    """The opaque text that stands for "older than this id, or this number"."""
    return base64.urlsafe_b64encode(str(last).encode()).decode().rstrip("=")


def read_cursor(text: str) -> str:
    """What a cursor stands for, still to be checked. Raises ValueError where it is none of ours."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()


def page_rows(tx: Tx, statement: Select[*tuple[Any, ...]], key: Any, page: Page) -> list[Any]:
    """The rows of a page, and one more if there is a next page; `key` is what the page goes by."""
    if page.below is not None:
        statement = statement.where(key < page.below)
    return list(tx.execute(statement.order_by(key.desc()).limit(page.limit + 1)))


def listed(documents: list[Document], page: Page, goes_by: str = "id") -> Document:
    """A page as it is answered, with the cursor of the next one."""
    data = documents[: page.limit]
    more = len(documents) > page.limit
    return {"data": data, "next_cursor": cursor(data[-1][goes_by]) if more else None}


def shown_time(at: Micros | None) -> str | None:
    """A time as it is shown; None stays None."""
    return None if at is None else rfc3339(at)
