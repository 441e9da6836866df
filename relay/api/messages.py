"""The bodies that the API takes, as strict models; what is wrong becomes pointers with sentences of our own.

pydantic's messages may quote the input, so none of them is passed on: a member that fails is
explained by its own description here. A pointer never holds a name that the caller chose.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic.fields import FieldInfo

from relay.api import fields
from relay.common.errors import Fault, Invalid
from relay.common.states import DeliveryStatus
from relay.common.time import Micros
from relay.deliveries.sql import bulk_retries
from relay.endpoints.rules.addresses import CallbackUrl
from relay.settings import Settings
from relay.watches.registration import WatchRequest

JobId = Annotated[
    str, Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z", description="1 to 64 letters, digits, _ or -")
]
EndpointId = Annotated[
    str, Field(pattern=r"\Aep_[0-9a-f]{32}\z", description="the id of one of your endpoints")
]
Url = Annotated[
    CallbackUrl,
    PlainValidator(fields.callback_url),
    Field(description="an absolute URL of at most 2,048 characters"),
]
EndpointUrl = Annotated[
    str, PlainValidator(fields.endpoint_url), Field(description="an absolute URL without a query")
]
Events = Annotated[
    str, PlainValidator(fields.events), Field(description="a list with at least one event in it")
]
Metadata = Annotated[
    str, PlainValidator(fields.metadata), Field(description="a JSON object of at most 4 KiB, 16 levels deep")
]
Headers = Annotated[
    dict[str, str],
    PlainValidator(fields.headers),
    Field(description="an object of header names and values"),
]
Description = Annotated[
    str,
    PlainValidator(fields.description),
    Field(description="a text of at most 500 characters, none of them a control character"),
]
TimeoutSeconds = Annotated[int, Field(ge=60, le=2_592_000, description="a whole number from 60 to 2592000")]
MaxInFlight = Annotated[int, Field(ge=1, le=1000, description="a whole number from 1 to 1000")]
RatePerSecond = Annotated[
    float, Field(ge=0.01, le=10_000, allow_inf_nan=False, description="a number from 0.01 to 10000, or null")
]
Notices = Annotated[
    bool, Field(description="true or false: whether to tell it when another endpoint of yours is disabled")
]
Overlap = Annotated[int, Field(ge=0, le=604_800, description="a whole number from 0 to 604800")]

Retriable = Annotated[
    Literal["failed", "delivered", "cancelled"], Field(description="one of failed, delivered, cancelled")
]
Time = Annotated[Micros, PlainValidator(fields.time), Field(description="an RFC 3339 time with its zone")]
DryRun = Annotated[bool, Field(description="true or false")]


class Message(BaseModel):
    """A body: every member known, of exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class WatchBody(Message):
    """Tell one endpoint when one job ends."""

    job_id: JobId
    callback_url: Url | None = None
    endpoint_id: EndpointId | None = None
    events: Events | None = None
    metadata: Metadata | None = None
    timeout_seconds: TimeoutSeconds | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.callback_url is None) == (self.endpoint_id is None):
            raise ValueError("must have exactly one of callback_url and endpoint_id")
        return self

    def request(self, pointer: str = "") -> WatchRequest:
        """Spell it out for the registering stage."""
        url = self.callback_url
        return WatchRequest(
            job_id=self.job_id,
            endpoint_id=self.endpoint_id,
            endpoint_url=None if url is None else url.endpoint_url,
            query=None if url is None else url.query,
            events=self.events or fields.ALL_EVENTS,
            metadata=self.metadata or "{}",
            timeout=self.timeout_seconds or 86_400,
            pointer=pointer,
        )


class BatchBody(Message):
    """Many watches, all or none."""

    watches: Annotated[
        list[WatchBody], Field(min_length=1, max_length=1000, description="a list of 1 to 1000 watches")
    ]


class EndpointBody(Message):
    """A new endpoint."""

    url: EndpointUrl
    description: Description | None = None
    headers: Headers | None = None
    max_in_flight: MaxInFlight | None = None
    rate_per_second: RatePerSecond | None = None
    notices: Notices | None = None

    def wanted(self) -> dict[str, Any]:
        """What was asked for."""
        return self.model_dump(exclude_none=True)


class EndpointPatch(Message):
    """Changes of an endpoint; null takes description, headers or rate away."""

    url: EndpointUrl = ""
    description: Description | None = None
    headers: Headers | None = None
    max_in_flight: MaxInFlight = 1
    rate_per_second: RatePerSecond | None = None
    notices: Notices = False

    def wanted(self) -> dict[str, Any]:
        """Only what was sent; the defaults above mean nothing."""
        return self.model_dump(exclude_unset=True)


class RotateBody(Message):
    """How long the old secret signs beside the new one."""

    overlap_seconds: Overlap = 86_400


class NoBody(Message):
    """What a verb takes that needs nothing said: no body, or an empty object."""


class RetryBody(Message):
    """Which deliveries to send again."""

    status: Retriable
    endpoint_id: EndpointId | None = None
    since: Time | None = None
    until: Time | None = None
    dry_run: DryRun = False

    def filter(self, now: Micros) -> bulk_retries.Filter:
        """Spell it out for the store; without `until` it means what was made up to now."""
        until = now if self.until is None else self.until
        return bulk_retries.Filter(DeliveryStatus(self.status), self.endpoint_id, self.since or 0, until)


T = TypeVar("T", bound=Message)


def _rule_of(field: FieldInfo) -> str:
    """Find a member's description, which lies inside the union where the member may be null."""
    notes = [note for kind in get_args(field.annotation) for note in getattr(kind, "__metadata__", ())]
    descriptions = [note.description for note in (field, *notes) if isinstance(note, FieldInfo)]
    return next(text for text in descriptions if text)  # a member without one shall not even be imported


RULES = {
    name: _rule_of(field)
    for model in (WatchBody, BatchBody, EndpointBody, EndpointPatch, RotateBody, RetryBody)
    for name, field in model.model_fields.items()
}


def read(model: type[T], body: Any, settings: Settings) -> T:
    """Read a body into its message; raises Invalid with a fault for each wrong member."""
    try:
        return model.model_validate(body, context=settings)
    except ValidationError as error:
        raise Invalid(list(dict.fromkeys(_faults(error, model)))) from None


def _faults(error: ValidationError, model: type[Message]) -> Iterator[Fault]:
    for problem in error.errors(include_input=False, include_url=False):
        where: Sequence[str | int] = problem["loc"]
        match problem["type"]:
            case "extra_forbidden":
                yield Fault(_pointer(where[:-1]), _known_members(model, where[:-1]))
            case "missing":
                yield Fault(_pointer(where), f"is required: {RULES[str(where[-1])]}")
            case "value_error":
                yield Fault(_pointer(where), str(problem["ctx"]["error"]))
            case _:
                yield Fault(_pointer(where), _rule(where))


def _pointer(where: Sequence[str | int]) -> str:
    return "".join(f"/{part}" for part in where)


def _rule(where: Sequence[str | int]) -> str:
    name = where[-1] if where else None
    return f"must be {RULES[name]}" if isinstance(name, str) else "must be a JSON object"


def _known_members(model: type[Message], where: Sequence[str | int]) -> str:
    known = WatchBody if where else model
    names = ", ".join(known.model_fields)
    return f"holds a member that is not known here; known are {names}" if names else "must be empty"
