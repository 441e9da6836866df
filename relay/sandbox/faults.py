"""Faults of the local ListAIJob, on demand: each stays for so many calls (`times`) or until it is cleared.

    POST   /sandbox/faults  one of the orders below → 201 {"faults": [those that stand]}
    GET    /sandbox/faults  → {"faults": [...]}
    DELETE /sandbox/faults  clears all

    {"kind": "error", "code", "status"?, "message"?, "retry_after_ms"?}   any error document of the provider:
                          throttling, denied credentials, internal errors, stale signatures
    {"kind": "gateway", "status"}       an HTML page, as a gateway before the provider writes it
    {"kind": "slow", "seconds"}         the answer comes so much later
    {"kind": "drip", "seconds"?}        the answer's body comes byte by byte, for so long
    {"kind": "broken"}                  the body ends before the length that was announced
    {"kind": "redirect", "location"}    302
    {"kind": "clock", "seconds"}        the provider's clock is so far ahead (negative: behind)
    {"kind": "poison", "job_id", "code"?, "status"?}   calls that name this id are refused as a whole
    {"kind": "shape", "name"}           the true answer in a strange shape, as `shapes` names them

Several may stand at once; of those that answer by themselves the first ordered wins.
"""

import json
import time
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Annotated, Any, Literal

from flask import Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from relay.common.time import US_PER_SECOND, Micros
from relay.sandbox.auth_check import Call, Failure
from relay.sandbox.responses import RESPONSES, Document

DROP_EVERY = 0.05  # seconds between two bytes of a dripped answer: each read succeeds, the whole never ends


def _known_shape(name: str) -> str:
    if name not in RESPONSES:
        raise ValueError(f"must be one of {', '.join(RESPONSES)}")
    return name


Status = Annotated[int, Field(ge=200, le=599)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class _Fault(BaseModel):
    """What every fault has; `times` None stands until cleared."""

    model_config = ConfigDict(extra="forbid")
    times: int | None = Field(default=None, ge=1)

    def concerns(self, _call: Call) -> bool:
        """Whether the fault shows in a call."""
        return True

    def answer(self) -> Response | Failure | None:
        """What the call is answered with, where the fault decides that; a failure is yet to be written."""
        return None


class ErrorAnswer(_Fault):
    """An error document with this code."""

    kind: Literal["error"]
    code: str
    status: Status = 400
    message: str = "A fault that was ordered."
    retry_after_ms: int | None = None

    def answer(self) -> Response | Failure | None:
        """The document, with the provider's header where it asks for a wait."""
        if self.retry_after_ms is None:
            return Failure(self.status, self.code, self.message)
        document = {"RequestId": "R", "Code": self.code, "Message": self.message}
        headers = {"x-acs-retry-after": str(self.retry_after_ms)}
        return Response(json.dumps(document), self.status, headers, content_type="application/json")


class Gateway(_Fault):
    """An HTML page."""

    kind: Literal["gateway"]
    status: Status

    def answer(self) -> Response:
        """The page."""
        page = f"<html><body><h1>{self.status}</h1></body></html>"
        return Response(page, self.status, content_type="text/html")


class Slow(_Fault):
    """The answer as it would be, later."""

    kind: Literal["slow"]
    seconds: Seconds


class Drip(_Fault):
    """A body that comes byte by byte."""

    kind: Literal["drip"]
    seconds: Seconds = 60.0

    def answer(self) -> Response:
        """The head at once, and then one byte after the other."""
        headers = {"Content-Length": "1000000"}
        return Response(_drops(self.seconds), 200, headers, content_type="application/json")


class Broken(_Fault):
    """A body shorter than announced."""

    kind: Literal["broken"]

    def answer(self) -> Response:
        """The beginning of a document."""
        headers = {"Content-Length": "1000", "Connection": "close"}
        start = iter(['{"RequestId": "R", "AIJobList": {'])
        return Response(start, 200, headers, content_type="application/json")


class Redirect(_Fault):
    """An answer that points elsewhere."""

    kind: Literal["redirect"]
    location: str

    def answer(self) -> Response:
        """The redirect."""
        return Response("", 302, {"Location": self.location})


class WrongClock(_Fault):
    """The clock that judges timestamps and writes `Date` is ahead."""

    kind: Literal["clock"]
    seconds: float


class Poison(_Fault):
    """One id for which whole calls are refused."""

    kind: Literal["poison"]
    job_id: str
    code: str = "InvalidParameter.JobIds"
    status: Status = 400

    def concerns(self, call: Call) -> bool:
        """Only calls that name the id."""
        return self.job_id in call.job_ids

    def answer(self) -> Failure:
        """The refusal, which does not say which id it is for."""
        return Failure(self.status, self.code, "One of the ids can't be read.")


class StrangeShape(_Fault):
    """The true answer, written strangely."""

    kind: Literal["shape"]
    name: Annotated[str, AfterValidator(_known_shape)]


Fault = ErrorAnswer | Gateway | Slow | Drip | Broken | Redirect | WrongClock | Poison | StrangeShape
_ORDER: TypeAdapter[Fault] = TypeAdapter(Annotated[Fault, Field(discriminator="kind")])


class Faults:
    """Those that stand; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._standing: list[Fault] = []

    def order(self, body: bytes) -> None:
        """Let a fault stand from now on; raises pydantic's `ValidationError` for an order that is none."""
        fault = _ORDER.validate_json(body)
        with self._lock:
            self._standing.append(fault)

    def clear(self) -> None:
        """Answer as the provider does again."""
        with self._lock:
            self._standing.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Those that stand, with the times that are left."""
        with self._lock:
            return [fault.model_dump(exclude_none=True) for fault in self._standing]

    def clock_ahead(self) -> Micros:
        """How far the clock is ahead."""
        with self._lock:
            seconds = [fault.seconds for fault in self._standing if isinstance(fault, WrongClock)]
        return round(sum(seconds) * US_PER_SECOND)

    def take(self, call: Call) -> list[Fault]:
        """Those that concern a call, each a time less from now on."""
        with self._lock:
            taken = [fault for fault in self._standing if fault.concerns(call)]
            for fault in taken:
                if fault.times is not None:
                    fault.times -= 1
            self._standing = [fault for fault in self._standing if fault.times != 0]
            return taken


def wait_out(faults: Sequence[Fault]) -> None:
    """Be as slow as was ordered."""
    time.sleep(sum(fault.seconds for fault in faults if isinstance(fault, Slow)))


def reshaped(document: Document, faults: Sequence[Fault]) -> Document | str:
    """The answer as the first of the ordered shapes has it."""
    names = [fault.name for fault in faults if isinstance(fault, StrangeShape)]
    return RESPONSES[names[0]](document) if names else document


def _drops(seconds: float) -> Iterator[str]:
    for _ in range(round(seconds / DROP_EVERY)):
        yield " "
        time.sleep(DROP_EVERY)
