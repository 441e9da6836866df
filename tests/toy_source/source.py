"""A toy source: renders of a farm in memory, 20 ids a call, its own events and results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.common.events import EventType
from relay.common.states import JobStatus, WatchStatus
from relay.provider.source import (
    Answer,
    Answered,
    JobReport,
    JobSource,
    Outcome,
    RefusalKind,
    Refused,
)

DONE = EventType("render.done", "the render is complete", WatchStatus.SUCCESS, by_default=True)
BROKEN = EventType("render.broken", "the render has crashed", WatchStatus.FAIL, by_default=True)
STARTED = EventType("render.started", "the farm has begun with the render")


@dataclass
class Farm:
    """The provider and its client; `renders` are the ended ones, by frames (0: it crashed)."""

    renders: dict[str, int] = field(default_factory=dict)
    is_closed: bool = False
    is_given_up: bool = False
    calls: list[int] = field(default_factory=list)

    def ask(self, job_ids: Sequence[str]) -> Outcome:
        self.calls.append(len(job_ids))
        if self.is_closed:
            return Refused(RefusalKind.DENIED, "Farm.Closed", "come back in spring", None, None, 403)
        return Answered(Answer({job_id: self._report(job_id) for job_id in job_ids}, frozenset(), None), 0)

    def _report(self, job_id: str) -> JobReport:
        if job_id not in self.renders:
            return JobReport(job_id, JobStatus.OPEN, "render")
        frames = self.renders[job_id]
        status = JobStatus.SUCCESS if frames else JobStatus.FAIL
        data = json.dumps({"frames": [f"{number}.png" for number in range(frames)]})
        return JobReport(job_id, status, "render", data=data, data_is_json=True)

    def why_not(self) -> str | None:
        return None

    def close(self) -> None:
        self.is_given_up = True


def frame_count(_type: str | None, data: str) -> dict[str, Any] | None:
    return {"kind": "render", "frame_count": len(json.loads(data)["frames"])}


def toy_source(farm: Farm) -> JobSource:
    return JobSource(
        name="render_farm",
        ids_per_call=20,
        events=(STARTED, DONE, BROKEN),
        connect=lambda _settings: farm,
        calls_per_second=lambda _settings: 50,
        typed_result=frame_count,
    )
