"""Queries, such as the page and filters of a list.

A parameter that is unknown, repeated or wrong is refused with 422.
"""

import base64
import re
from typing import Annotated, Any, ClassVar, Self

from flask import request
from pydantic import Field, PlainValidator, field_validator

from relay.api.models import RequestModel, WrongMember
from relay.common.errors import Fault, Invalid
from relay.db.pagination import Page

MOST = 100  # items of one page


def _limit(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MOST:
        raise WrongMember(f"must be a whole number from 1 to {MOST}")
    return int(text)


class Query(RequestModel):
    """The parameters that a path takes."""

    noun: ClassVar[str] = "parameter"

    @classmethod
    def read_query(cls) -> Self:
        """Read the request's query."""
        texts = request.args.to_dict()
        repeated = [
            name for name in texts if name in cls.model_fields and len(request.args.getlist(name)) > 1
        ]
        faults = [Fault(f"/{name}", "must be given only once") for name in repeated]
        try:
            query = cls.read({name: text for name, text in texts.items() if name not in repeated})
        except Invalid as error:
            faults += error.faults
        if faults:
            raise Invalid(faults)
        return query


class ListQuery(Query):
    """The page of a list; each list adds its filters, and says which text its cursor stands for."""

    cursor_pattern: ClassVar[str]

    limit: Annotated[int, PlainValidator(_limit), Field(description=f"a whole number from 1 to {MOST}")] = 50
    cursor: Annotated[str | None, Field(description="a next_cursor of this list")] = None

    @field_validator("cursor")
    @classmethod
    def _read_cursor(cls, cursor: str) -> str:
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        except ValueError:
            text = ""
        if not re.fullmatch(cls.cursor_pattern, text):
            raise WrongMember("is not a next_cursor of this list; begin again without one")
        return text

    @property
    def page(self) -> Page:
        """The page that was asked for."""
        return Page(self.limit, self.cursor)

    @property
    def filters(self) -> dict[str, Any]:
        """The filters that were given."""
        return self.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
