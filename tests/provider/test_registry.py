"""The declarations of sources and events: what they promise, and what is refused before any SQL."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest

from relay.common import events
from relay.common.events import EVENTS_LENGTH, EventType
from relay.common.states import WatchStatus
from relay.db.engine import Store
from relay.db.tables import Delivery, Watch
from relay.provider import registry
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.source import JobSource
from tests.support.flow import World, fresh_job_id

FROZEN = ["ai_job.success", "ai_job.fail", "ai_job.missing", "watch.expired"]


def test_a_watch_that_names_no_events_gets_the_four_that_it_always_got() -> None:
    """Frozen: callers who named none never asked for an event that is declared today."""
    assert LIST_AI_JOB.default_events == FROZEN


def test_a_new_event_is_nobodys_default_and_can_be_asked_for() -> None:
    progress = EventType("ai_job.progress", "the job goes on")
    source = replace(LIST_AI_JOB, events=(*LIST_AI_JOB.events, progress))
    registry.check({source.name: source})
    assert source.default_events == FROZEN
    assert source.watchable == [*FROZEN[:3], "ai_job.progress", "watch.expired"]


def test_events_of_the_relay_itself_cannot_be_asked_for_but_expiry() -> None:
    assert [event.name for event in events.OF_THE_RELAY if event.is_watchable] == ["watch.expired"]


def test_all_declared_events_together_fit_into_the_columns() -> None:
    names = [event.name for event in registry.all_events()]
    assert len(events.join(names)) <= Watch.__table__.c.events.type.length  # type: ignore[attr-defined]
    assert max(map(len, names)) <= Delivery.__table__.c.event.type.length  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)


def test_an_overlong_list_of_events_is_refused_before_it_reaches_the_database(own_store: Store) -> None:
    world = World(own_store)
    longest = world.request(fresh_job_id(), events="e" * EVENTS_LENGTH)
    world.register(longest)
    assert world.rows(Watch)[0].events == "e" * EVENTS_LENGTH
    with pytest.raises(ValueError, match="longer than 1,000 characters"):
        world.register(replace(longest, job_id=fresh_job_id(), events="e" * EVENTS_LENGTH + ",e"))


def declared(*names: str, ends: WatchStatus | None = None) -> tuple[EventType, ...]:
    return tuple(EventType(name, "a test says so", ends) for name in names)


def other(name: str = "other", *declarations: EventType) -> Mapping[str, JobSource]:
    source = replace(LIST_AI_JOB, name=name, events=declarations)
    return {LIST_AI_JOB.name: LIST_AI_JOB, name: source}


@pytest.mark.parametrize(
    "sources",
    [
        other("x" * 33),
        other(""),
        other("é"),
        {"other": LIST_AI_JOB},
        other("other", *declared("e" * 33)),
        other("other", *declared("")),
        other("other", *declared("a,b")),
        other("other", *declared("ai_job.fail")),
        other("other", *declared("relay.test")),
        other("other", *declared("watch.expired")),
        other("other", *declared("twice", "twice")),
        other("other", *declared("a", "b", ends=WatchStatus.SUCCESS)),
        other("other", *declared(*(f"{number:032}" for number in range(32)))),
    ],
)
def test_a_declaration_that_the_tables_cannot_hold_is_refused(sources: Mapping[str, JobSource]) -> None:
    registry.check(other("other", *declared("fine", ends=WatchStatus.SUCCESS)))
    with pytest.raises(ValueError, match=r"."):
        registry.check(sources)


@pytest.mark.processes
def test_who_does_not_poll_loads_no_http_client() -> None:
    modules = ("relay.provider.registry", "relay.bootstrap.web", "relay.cli")
    code = f"import sys, {', '.join(modules)}; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
