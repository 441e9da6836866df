"""Pages of the lists that a subscriber reads, newest first.

Ids sort by time, so a page continues below the last id of the page before; attempts are listed by
their number.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select

from relay.db.engine import Tx


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` rows, older than the row with the id, or the number, `below`."""

    limit: int
    below: str | int | None = None


def page_rows(tx: Tx, statement: Select[*tuple[Any, ...]], key: Any, page: Page) -> list[Any]:
    """The rows of a page, and one more if there is a next page; `key` is the sorting column."""
    if page.below is not None:
        statement = statement.where(key < page.below)
    return list(tx.execute(statement.order_by(key.desc()).limit(page.limit + 1)))
