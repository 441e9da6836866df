"""Faults of the local ListAIJob: each stays for so many calls (`times`) or until it is cleared.

    POST   /sandbox/faults  one of the orders below → 201 {"faults": [those that stay]}
    GET    /sandbox/faults  → {"faults": [...]}
    DELETE /sandbox/faults  clears all

    {"kind": "error", "code", "status"?, "message"?, "retry_after_ms"?}
                          any error document of the provider: throttling, denied credentials,
                          internal errors, stale signatures
    {"kind": "raw", "body", "content_type"?, "status"?}   exactly this body
    {"kind": "gateway", "status"}       an HTML page, as a gateway before the provider writes it
    {"kind": "slow", "seconds"}         the answer comes so much later
    {"kind": "drip", "seconds"?}        the answer's body comes byte by byte, for so long
    {"kind": "broken"}                  the body ends before the length that was announced
    {"kind": "redirect", "location"}    302
    {"kind": "clock", "seconds"}        the provider's clock is so far ahead (negative: behind)
    {"kind": "poison", "job_id", "code"?, "status"?}
                          calls that name this id are refused as a whole
    {"kind": "shape", "name"}           the answer as a strange response, by its name in `responses`

Several may stay at once; of those that answer by themselves the first ordered wins.
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

DRIP_EVERY = 0.05  # seconds between two bytes of a dripped answer: each read succeeds, the whole never ends


def _known_response(name: str) -> str:
    if name not in RESPONSES:
        raise ValueError(f"must be one of {', '.join(RESPONSES)}")
    return name


Status = Annotated[int, Field(ge=200, le=599)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class _Fault(BaseModel):
    """The members that every fault has; without `times` it stays until cleared."""

    model_config = ConfigDict(extra="forbid")
    times: int | None = Field(default=None, ge=1)

    def concerns(self, _call: Call) -> bool:
        return True

    def answer(self) -> Response | Failure | None:
        """The answer, or a failure in the call's format; None: as without the fault."""
        return None


class _ErrorDocument(_Fault):
    kind: Literal["error"]
    code: str
    status: Status = 400
    message: str = "A fault that was ordered."
    retry_after_ms: int | None = None

    def answer(self) -> Response | Failure:
        if self.retry_after_ms is None:
            return Failure(self.status, self.code, self.message)
        document = {"RequestId": "R", "Code": self.code, "Message": self.message}
        headers = {"x-acs-retry-after": str(self.retry_after_ms)}
        return Response(json.dumps(document), self.status, headers, content_type="application/json")


class _RawAnswer(_Fault):
    kind: Literal["raw"]
    body: str
    content_type: str = "application/json"
    status: Status = 200

    def answer(self) -> Response:
        return Response(self.body, self.status, content_type=self.content_type)


class _Gateway(_Fault):
    kind: Literal["gateway"]
    status: Status

    def answer(self) -> Response:
        page = f"<html><body><h1>{self.status}</h1></body></html>"
        return Response(page, self.status, content_type="text/html")


class _Slow(_Fault):
    kind: Literal["slow"]
    seconds: Seconds


class _Drip(_Fault):
    kind: Literal["drip"]
    seconds: Seconds = 60.0

    def answer(self) -> Response:
        headers = {"Content-Length": "1000000"}
        return Response(self._bytes(), 200, headers, content_type="application/json")

    def _bytes(self) -> Iterator[str]:
        for _ in range(round(self.seconds / DRIP_EVERY)):
            yield " "
            time.sleep(DRIP_EVERY)


class _Broken(_Fault):
    kind: Literal["broken"]

    def answer(self) -> Response:
        headers = {"Content-Length": "1000", "Connection": "close"}
        start = iter(['{"RequestId": "R", "AIJobList": {'])
        return Response(start, 200, headers, content_type="application/json")


class _Redirect(_Fault):
    kind: Literal["redirect"]
    location: str

    def answer(self) -> Response:
        return Response("", 302, {"Location": self.location})


class _WrongClock(_Fault):
    kind: Literal["clock"]
    seconds: float


class _PoisonId(_Fault):
    kind: Literal["poison"]
    job_id: str
    code: str = "InvalidParameter.JobIds"
    status: Status = 400

    def concerns(self, call: Call) -> bool:
        return self.job_id in call.job_ids

    def answer(self) -> Failure:
        """A refusal that does not say which id it is for."""
        return Failure(self.status, self.code, "One of the ids can't be read.")


class _StrangeResponse(_Fault):
    kind: Literal["shape"]
    name: Annotated[str, AfterValidator(_known_response)]


Fault = (
    _ErrorDocument
    | _RawAnswer
    | _Gateway
    | _Slow
    | _Drip
    | _Broken
    | _Redirect
    | _WrongClock
    | _PoisonId
    | _StrangeResponse
)
_ORDER: TypeAdapter[Fault] = TypeAdapter(Annotated[Fault, Field(discriminator="kind")])


class Faults:
    """The faults that were ordered; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._faults: list[Fault] = []

    def order(self, body: bytes) -> None:
        """Add a fault; raises pydantic's `ValidationError` if the order is not valid."""
        fault = _ORDER.validate_json(body)
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Answer as the provider does again."""
        with self._lock:
            self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        """The faults, with the times that are left."""
        with self._lock:
            return [fault.model_dump(exclude_none=True) for fault in self._faults]

    def clock_ahead(self) -> Micros:
        """How far the provider's clock is ahead."""
        with self._lock:
            seconds = [fault.seconds for fault in self._faults if isinstance(fault, _WrongClock)]
        return round(sum(seconds) * US_PER_SECOND)

    def take(self, call: Call) -> list[Fault]:
        """The faults that concern a call, each one time less from now on."""
        with self._lock:
            taken = [fault for fault in self._faults if fault.concerns(call)]
            for fault in taken:
                if fault.times is not None:
                    fault.times -= 1
            self._faults = [fault for fault in self._faults if fault.times != 0]
            return taken


def wait_out(faults: Sequence[Fault]) -> None:
    """Be as slow as was ordered."""
    time.sleep(sum(fault.seconds for fault in faults if isinstance(fault, _Slow)))


def apply(document: Document, faults: Sequence[Fault]) -> Document | str:
    """The answer, made strange by the first of the faults that does so."""
    names = [fault.name for fault in faults if isinstance(fault, _StrangeResponse)]
    return RESPONSES[names[0]](document) if names else document
