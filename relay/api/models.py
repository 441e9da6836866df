"""Strict pydantic models of bodies and queries; wrong members become pointers with own sentences.

pydantic's messages may quote the input, so none of them is passed on: a wrong member is explained
by its description. A pointer never holds a name that the caller chose.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from relay.api import bodies
from relay.api.context import ctx
from relay.common.errors import Fault, Invalid


class WrongMember(ValueError):
    """A member that breaks its rule: a sentence to be put after its pointer; quotes nothing."""


class RequestModel(BaseModel):
    """A body or a query: every member known, of exactly its type, and described."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    descriptions: ClassVar[Mapping[str, str]]
    noun: ClassVar[str] = "member"

    @classmethod
    def __pydantic_init_subclass__(cls, **_kwargs: object) -> None:
        """Collect the descriptions; a model with a member that has none can't be imported."""
        cls.descriptions = {name: _description(field) for name, field in cls.model_fields.items()}
        if not all(cls.descriptions.values()):
            raise TypeError(f"every member of {cls.__name__} needs a description: {cls.descriptions}")

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read parsed JSON; raises Invalid with a fault for each wrong member."""
        try:
            return cls.model_validate(value, context=ctx.settings)
        except ValidationError as error:
            raise Invalid(list(dict.fromkeys(_faults(error, cls)))) from None

    @classmethod
    def read_body(cls, limit: int = bodies.LIMIT, *, may_be_empty: bool = False) -> Self:
        """Read the request's body, of at most `limit` bytes."""
        return cls.read(bodies.read_json(limit, may_be_empty=may_be_empty))


class NoBody(RequestModel):
    """No body, or an empty object: for what its path says in full."""


def _description(field: FieldInfo) -> str:
    """Find a member's description, which lies inside the union where the member may be null."""
    inner = [note for kind in get_args(field.annotation) for note in getattr(kind, "__metadata__", ())]
    descriptions = [note.description for note in (field, *inner) if isinstance(note, FieldInfo)]
    return next((description for description in descriptions if description), "")


def _faults(error: ValidationError, model: type[RequestModel]) -> Iterator[Fault]:
    for problem in error.errors(include_input=False, include_url=False):
        where = problem["loc"]
        parents, name = where[:-1], str(where[-1] if where else "")
        match problem["type"]:
            case "extra_forbidden":
                yield Fault(_pointer(parents), _known_members(_model_at(model, parents)))
            case "missing":
                description = _model_at(model, parents).descriptions[name]
                yield Fault(_pointer(where), f"is required: {description}")
            case "value_error":
                yield Fault(_pointer(where), str(problem["ctx"]["error"]))
            case _:
                descriptions = _model_at(model, parents).descriptions
                yield Fault(_pointer(where), f"must be {descriptions.get(name, 'a JSON object')}")


def _model_at(model: type[RequestModel], where: Sequence[str | int]) -> type[RequestModel]:
    """The model of the object at this place: the model itself, or the items of one of its lists."""
    for name in where:
        if isinstance(name, str):
            (model,) = get_args(model.model_fields[name].annotation)
    return model


def _pointer(where: Sequence[str | int]) -> str:
    return "".join(f"/{part}" for part in where)


def _known_members(model: type[RequestModel]) -> str:
    names = ", ".join(model.model_fields)
    return f"holds a {model.noun} that is not known here; known are {names}" if names else "must be empty"
