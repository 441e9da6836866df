"""The jobs of the local ListAIJob: their states over time, and results as on the provider's page.

A job's timetable is fixed when it is created: nothing runs, its state follows from the clock.
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.signing import timestamp

JobType = Literal["AIVideoTag", "AIMediaDNA"]
JobOutcome = Literal["success", "fail"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its timetable: `init` until `processing_at`, `processing` until `ended_at`."""

    job_id: str
    type: JobType
    outcome: JobOutcome
    created_at: Micros
    processing_at: Micros
    ended_at: Micros
    data: str

    def status(self, now: Micros) -> str:
        """The job's state as the provider names it: `init`, `processing`, `success` or `fail`."""
        if now < self.processing_at:
            return "init"
        return "processing" if now < self.ended_at else self.outcome

    def as_reported(self, now: Micros) -> dict[str, str]:
        """The job as an `AIJob` of the answer; results only once it ended, as the provider does."""
        status = self.status(now)
        report = {
            "Status": status,
            "Type": self.type,
            "MediaId": random.Random(self.job_id).randbytes(16).hex(),  # noqa: S311 - a sample, no secret
            "CreationTime": timestamp(self.created_at),
            "JobId": self.job_id,
        }
        if status == "success":
            report |= {"Code": "0", "Message": "OK", "Data": self.data}
        if status == "fail":
            report |= {"Code": "AnalyseFailed", "Message": "The media can't be analysed."}
        if now >= self.ended_at:
            report["CompleteTime"] = timestamp(self.ended_at)
        return report


# The first call for such an id creates its job, so that a pasted command works at once.
_SELF_DESCRIBING = re.compile(
    r"sandbox-(?P<type>tag|dna)-(?P<outcome>success|fail)-(?P<seconds>[0-9]{1,6})s-.+", re.DOTALL
)
_TYPES: dict[str, JobType] = {"tag": "AIVideoTag", "dna": "AIMediaDNA"}
_INIT_SHARE = 0.2  # of a job's time, unless ordered: long enough to be seen


class Jobs:
    """All jobs; threads may share it."""

    def __init__(self, clock: Callable[[], Micros]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._jobs: dict[str, Job] = {}

    def create(
        self,
        job_id: str,
        type: JobType,  # noqa: A002 - the name in orders
        outcome: JobOutcome,
        *,
        seconds: float,
        init_seconds: float | None = None,
        data: str | None = None,
    ) -> Job:
        """Create a job that ends after `seconds`, of which the first `init_seconds` are in `init`.

        A job of this id that exists already is returned as it is.
        """
        now = self._clock()
        init = seconds * _INIT_SHARE if init_seconds is None else init_seconds
        job = Job(
            job_id=job_id,
            type=type,
            outcome=outcome,
            created_at=now,
            processing_at=now + round(init * US_PER_SECOND),
            ended_at=now + round(max(seconds, init) * US_PER_SECOND),
            data=_result(type, job_id) if data is None else data,
        )
        with self._lock:
            return self._jobs.setdefault(job_id, job)

    def find(self, job_id: str) -> Job | None:
        """The job of an id; the first call for a self-describing id creates its job."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None and (match := _SELF_DESCRIBING.fullmatch(job_id)):
            outcome: JobOutcome = "success" if match["outcome"] == "success" else "fail"
            return self.create(job_id, _TYPES[match["type"]], outcome, seconds=int(match["seconds"]))
        return job


def _result(job_type: JobType, job_id: str) -> str:
    """Sample `Data` as the provider writes it: the same for the same id, another for the next."""
    rng = random.Random(job_id)  # noqa: S311 - sample data, no secret
    value = _video_tags(rng) if job_type == "AIVideoTag" else _video_dna(rng)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_SENTENCES = (
    "嗯。",
    "听不厌。",
    "留言。",
    "hello, 中午好。",
    "Welcome back.",
    "今天我们来看海。",
    "Let's go!",
)
_TAGS = {
    "Person": ("刘德华", "Ada Lovelace", "姚明"),
    "Time": ("夜晚", "白天", "傍晚"),
    "Location": ("海边", "Hangzhou", "体育场"),
    "Keyword": ("篮球", "冲浪", "music", "旅行"),
    "Category": ("体育", "综艺", "教育"),
}


def _video_tags(rng: random.Random) -> dict[str, Any]:
    duration = rng.randrange(10_000, 120_000)
    result: dict[str, Any] = {
        group: [
            {"Tag": tag, "Times": sorted(rng.sample(range(0, duration, 40), 3))}
            for tag in rng.sample(tags, rng.randint(1, 2))
        ]
        for group, tags in _TAGS.items()
    }
    for person in result["Person"]:
        person["FaceUrl"] = f"https://example.com/faces/{rng.randbytes(8).hex()}.jpg"
    return result | {"OrigASRData": _speech(rng, duration)}


def _speech(rng: random.Random, duration: int) -> dict[str, Any]:
    cuts = sorted(rng.sample(range(0, duration, 10), 2 * rng.randint(2, 6)))
    lines = [
        {
            "EndTime": end,
            "StartTime": start,
            "Text": rng.choice(_SENTENCES),
            "ChannelId": 0,
            "SpeechRate": rng.randint(20, 200),
        }
        for start, end in zip(cuts[::2], cuts[1::2], strict=True)
    ]
    return {"AsrTextList": lines, "Duration": str(duration)}


def _video_dna(rng: random.Random) -> dict[str, Any]:
    return {
        "VideoDNA": [
            {
                "PrimaryKey": rng.randbytes(16).hex(),
                "Similarity": f"{rng.uniform(0.5, 1):.2f}",
                "Detail": [{"Input": _stretch(rng), "Duplication": _stretch(rng)}],
            }
            for _ in range(rng.randint(1, 3))
        ]
    }


def _stretch(rng: random.Random) -> dict[str, str]:
    return {"Start": f"{rng.uniform(0, 60):.1f}", "Duration": f"{rng.uniform(1, 60):.1f}"}
