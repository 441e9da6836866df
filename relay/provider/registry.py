"""The sources of jobs that this relay asks, and all events.

A source is registered here, by a line, and nowhere else. Importing this loads no client.
"""

from collections.abc import Mapping

from relay.common import events
from relay.common.events import EVENT_LENGTH, EventType
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.source import JobSource

SOURCE_LENGTH = 32  # characters of a name, in every column called `source`

DEFAULT_SOURCE = LIST_AI_JOB.name  # of callers that name none

SOURCES: dict[str, JobSource] = {source.name: source for source in (LIST_AI_JOB,)}


def all_events() -> list[EventType]:
    """All events: those of the sources, then the relay's own."""
    return [event for source in SOURCES.values() for event in source.events] + [*events.OF_THE_RELAY]


def job_queries() -> dict[str, str]:
    """Event → query by which the API shows a job of its source; only events with a result."""
    return {
        event.name: "" if source.name == DEFAULT_SOURCE else f"?source={source.name}"
        for source in SOURCES.values()
        for event in source.events
        if event.has_result
    }


def check(sources: Mapping[str, JobSource]) -> None:
    """Raise `ValueError` for declarations that contradict each other or do not fit the tables."""
    names = [event.name for event in events.OF_THE_RELAY]
    for name, source in sources.items():
        if name != source.name or not _fits(name, SOURCE_LENGTH):
            raise ValueError(f"a source's name is 1 to {SOURCE_LENGTH} printable ASCII characters: {name!r}")
        names += [event.name for event in source.events]
        events.join(source.watchable)
        endings = [event.ends for event in source.events if event.ends is not None]
        if len(set(endings)) < len(endings):
            raise ValueError(f"two events of the source {name} have the same end of a watch")
    for event_name in names:
        if not _fits(event_name, EVENT_LENGTH) or names.count(event_name) > 1:
            raise ValueError(
                f"an event's name is 1 to {EVENT_LENGTH} printable ASCII characters without a comma,"
                f" and belongs to one event: {event_name!r}"
            )


def _fits(name: str, length: int) -> bool:
    return 0 < len(name) <= length and name.isascii() and name.isprintable() and "," not in name


check(SOURCES)
