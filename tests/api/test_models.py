"""Models of bodies and queries: what a wrong member is answered with, whatever the model."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from flask import Flask
from pydantic import Field

from relay.api import context
from relay.api.models import RequestModel
from relay.api.queries import Query
from relay.common.errors import Fault, Invalid
from relay.db.engine import Store
from relay.subscribers.encryption import Encryption
from tests.support.api import context_for_tests

Size = Annotated[int, Field(ge=1, description="a whole number from 1")]


class Item(RequestModel):
    size: Size


class Order(RequestModel):
    items: Annotated[list[Item], Field(max_length=2, description="a list of at most 2 items")]
    size: Size | None = None


class Search(Query):
    size: Annotated[str, Field(pattern="[0-9]+", description="a whole number")] | None = None
    name: Annotated[str, Field(description="a text")] | None = None


@pytest.fixture
def app(store: Store, encryption: Encryption) -> Iterator[Flask]:
    app = Flask(__name__)
    context.install(app, context_for_tests(store, encryption))
    with app.app_context():
        yield app


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({"items": [], "size": 0}, [Fault("/size", "must be a whole number from 1")]),
        ({"items": [{"size": 1}, {}]}, [Fault("/items/1/size", "is required: a whole number from 1")]),
        ({"items": [{"size": "1"}]}, [Fault("/items/0/size", "must be a whole number from 1")]),
        ({"items": [5]}, [Fault("/items/0", "must be a JSON object")]),
        ({"items": [{"size": 1}] * 3}, [Fault("/items", "must be a list of at most 2 items")]),
        ({}, [Fault("/items", "is required: a list of at most 2 items")]),
        ([], [Fault("", "must be a JSON object")]),
        (
            {"items": [{"size": 1, "secret": 2}], "password": 3},
            [
                Fault("/items/0", "holds a member that is not known here; known are size"),
                Fault("", "holds a member that is not known here; known are items, size"),
            ],
        ),
    ],
)
def test_a_wrong_member_is_explained_by_its_description_at_its_pointer(
    value: Any, faults: list[Fault]
) -> None:
    with pytest.raises(Invalid) as caught:
        Order.read(value)
    assert caught.value.faults == faults


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("size=x", [Fault("/size", "must be a whole number")]),
        ("size=x&size=1", [Fault("/size", "must be given only once")]),
        (
            "size=x&name=a&name=b",
            [Fault("/name", "must be given only once"), Fault("/size", "must be a whole number")],
        ),
        ("a=1&a=2", [Fault("", "holds a parameter that is not known here; known are size, name")]),
    ],
)
def test_each_wrong_parameter_has_one_fault(app: Flask, query: str, faults: list[Fault]) -> None:
    with app.test_request_context(f"/?{query}"), pytest.raises(Invalid) as caught:
        Search.read_query()
    assert caught.value.faults == faults


def test_a_member_without_a_description_is_no_member() -> None:
    with pytest.raises(TypeError, match="Undescribed"):
        type("Undescribed", (RequestModel,), {"__annotations__": {"size": int}})
