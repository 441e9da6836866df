"""Every event can be written, whatever is in its fields, and a batch of them leaves at once."""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import telemetry
from relay.common.states import DeliveryStatus
from relay.telemetry import log_format
from relay.telemetry.event import Event
from relay.telemetry.events import AttemptEnded, EndpointChanged, RequestRefused
from relay.telemetry.log_format import Line, Repeats, as_json, configure
from tests.support.telemetry import Stderr

EVENTS = Event.__subclasses__()
LIMITED: dict[object, st.SearchStrategy[object]] = {  # by the type of a field
    BaseException: st.builds(KeyError, st.just("hush")),
    int | None: st.none() | st.integers(0, 4_000_000_000_000_000),
    Mapping[str, int]: st.dictionaries(st.sampled_from(["jobs", "watches"]), st.integers()),
}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.name)
@settings(max_examples=20)
@given(data=st.data())
def test_every_event_has_a_sentence_and_members_that_can_be_written(
    kind: type[Event], data: st.DataObject
) -> None:
    limited = {field.name: LIMITED[field.type] for field in fields(kind) if field.type in LIMITED}  # type: ignore[arg-type]  # mypy knows no dataclass in a class as such
    event = data.draw(st.builds(kind, **limited))
    line = Line(event.severity(), event.name, event.sentence(), event.fields())
    written = as_json("", "web", line)
    assert written.isprintable()
    assert json.loads(written)["message"] == event.sentence()
    assert "hush" not in written
    assert written.count('"event"') == written.count('"level"') == written.count('"message"') == 1
    assert event.repeat_key() is None or all(isinstance(part, str) for part in event.repeat_key() or ())


def test_names_in_the_log_are_unique() -> None:
    assert len({kind.name for kind in EVENTS}) == len(EVENTS)


@pytest.mark.usefixtures("stderr")
def test_a_batch_leaves_in_one_write_with_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    configure("json", "dispatcher")
    writes: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", writes.append)
    attempt = AttemptEnded("msg_1", "ep_1", 1, 200, None, 12_345, DeliveryStatus.DELIVERED, None)
    telemetry.emit(attempt, replace(attempt, delivery_id="msg_2"), EndpointChanged("ep_1", "closed", ""))
    (written,) = writes
    assert [json.loads(line)["event"] for line in written.splitlines()] == [
        "attempt_ended",
        "attempt_ended",
        "endpoint_turned",
    ]


def test_of_events_that_repeat_one_a_minute_is_logged_and_the_others_counted(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("json", "web")
    now = [0.0]
    monkeypatch.setattr(log_format, "repeats", Repeats(lambda: now[0]))
    for now[0] in (0.0, 1.0, 59.0, 60.0):
        telemetry.emit(RequestRefused(400, ValueError()), RequestRefused(400, KeyError()))
    assert [line["message"] for line in stderr.lines()] == [
        "A malformed request was answered 400 (ValueError).",
        "A malformed request was answered 400 (KeyError).",
        "A malformed request was answered 400 (ValueError) (2 more like it since the last such line).",
        "A malformed request was answered 400 (KeyError) (2 more like it since the last such line).",
    ]
