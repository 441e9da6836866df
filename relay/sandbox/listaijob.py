"""A local ListAIJob over HTTP, which answers and refuses as the provider does, and its control API.

    GET, POST /            ListAIJob, signed with V3 or V1, in JSON or XML
    POST /sandbox/jobs     {"jobs": [order]}, an order being
                           {"type", "outcome", "seconds", "init_seconds"?, "job_id"?, "data"?};
                           creates jobs that end after `seconds` → {"job_ids": [...]}
    GET  /sandbox/jobs/ID  the job as it is now, and its timetable
    GET  /sandbox/calls    all calls so far → {"calls", "ids", "ids_per_call", "at"}: for each of
                           the last 10,000 its number of ids, and its monotonic time in seconds
    POST /sandbox/faults   faults on demand; GET shows, DELETE clears them: see `faults`

An id like `sandbox-tag-success-20s-anything` needs no control API: its time starts when it is first
asked.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate
from html import escape
from threading import Lock
from typing import Any
from uuid import UUID, uuid4

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from relay.common.time import US_PER_SECOND, Micros
from relay.provider.list_ai_job.rules.signing import Credentials
from relay.sandbox import faults
from relay.sandbox.auth_check import AuthCheck, Call, Failure
from relay.sandbox.faults import Fault, Faults
from relay.sandbox.jobs import Job, JobOutcome, Jobs, JobType
from relay.sandbox.server import listen

ACCESS_KEY_ID = "sandbox"
ACCESS_KEY_SECRET = "sandbox-secret"  # noqa: S105 - it opens nothing but the sandbox
REMEMBERED = 10_000  # calls
CREDENTIALS = Credentials(ACCESS_KEY_ID, ACCESS_KEY_SECRET)


def serve(host: str, port: int) -> None:
    """Serve until interrupted."""
    with listen(build(), host, port) as server:
        server.serve_forever()


def build(
    *,
    credentials: Credentials = CREDENTIALS,
    clock: Callable[[], Micros] = lambda: time.time_ns() // 1_000,
    make_id: Callable[[], UUID] = uuid4,
) -> Flask:
    """The application, with its own state in memory; jobs and timestamps follow the clock."""
    app = Flask("relay.sandbox.listaijob", static_folder=None)
    sandbox = _Sandbox(credentials, clock, make_id)
    app.add_url_rule("/", view_func=sandbox.list_ai_job, methods=["GET", "POST"])
    app.add_url_rule("/sandbox/jobs", view_func=sandbox.make_jobs, methods=["POST"])
    app.add_url_rule("/sandbox/jobs/<job_id>", view_func=sandbox.show_job)
    app.add_url_rule("/sandbox/calls", view_func=sandbox.show_calls)
    app.add_url_rule("/sandbox/faults", view_func=sandbox.change_faults, methods=["GET", "POST", "DELETE"])
    app.register_error_handler(ValidationError, _invalid)

    @app.after_request
    def date(response: Response) -> Response:
        response.headers["Date"] = formatdate(sandbox.now() / US_PER_SECOND, usegmt=True)
        return response

    return app


class _JobOrder(BaseModel):
    """One job to create."""

    model_config = ConfigDict(extra="forbid")
    type: JobType
    outcome: JobOutcome
    seconds: float = Field(ge=0, le=1e9)
    init_seconds: float | None = Field(default=None, ge=0, le=1e9)
    job_id: str | None = Field(default=None, min_length=1)
    data: str | None = None


class _JobsOrder(BaseModel):
    """The body of `POST /sandbox/jobs`."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[_JobOrder]


class _Sandbox:
    """The views, over shared state."""

    def __init__(
        self, credentials: Credentials, clock: Callable[[], Micros], make_id: Callable[[], UUID]
    ) -> None:
        self._clock = clock
        self._new_id = make_id
        self._auth_check = AuthCheck(credentials, self.now)
        self._faults = Faults()
        self._jobs = Jobs(clock)
        self._lock = Lock()
        self._call_count = self._id_count = 0
        self._ids_per_call: deque[int] = deque(maxlen=REMEMBERED)
        self._at: deque[float] = deque(maxlen=REMEMBERED)

    def now(self) -> Micros:
        """The time that timestamps are checked against; a fault can make it wrong."""
        return self._clock() + self._faults.clock_ahead()

    def list_ai_job(self) -> Response:
        """Answer one ListAIJob call."""
        call = _received()
        self._count(call)
        taken = self._faults.take(call)
        faults.wait_out(taken)
        return self._fail(call, taken) or self._refuse(call) or self._list(call, taken)

    def _count(self, call: Call) -> None:
        with self._lock:
            self._call_count += 1
            self._id_count += len(call.job_ids)
            self._ids_per_call.append(len(call.job_ids))
            self._at.append(time.monotonic())

    def _fail(self, call: Call, taken: Sequence[Fault]) -> Response | None:
        answer = next((answer for fault in taken if (answer := fault.answer()) is not None), None)
        return self._write_failure(call, answer) if isinstance(answer, Failure) else answer

    def _refuse(self, call: Call) -> Response | None:
        failure = self._auth_check.refuse(call)
        return self._write_failure(call, failure) if failure else None

    def _write_failure(self, call: Call, failure: Failure) -> Response:
        return self._render(
            call, "Error", {"RequestId": self._request_id(), **_error(failure)}, failure.status
        )

    def _list(self, call: Call, taken: Sequence[Fault]) -> Response:
        now = self._clock()
        found = {job_id: self._jobs.find(job_id) for job_id in call.job_ids}
        document = {
            "RequestId": self._request_id(),
            "NonExistAIJobIds": {"String": [job_id for job_id, job in found.items() if job is None]},
            "AIJobList": {"AIJob": [job.as_reported(now) for job in found.values() if job]},
        }
        return self._render(call, "ListAIJobResponse", faults.apply(document, taken))

    def _request_id(self) -> str:
        return str(self._new_id()).upper()

    def _render(self, call: Call, name: str, document: dict[str, Any] | str, status: int = 200) -> Response:
        if isinstance(document, str):
            return Response(document, status=status, content_type="application/json;charset=utf-8")
        if call.wants_json:
            text = json.dumps(document, ensure_ascii=False)
            return Response(text, status=status, content_type="application/json;charset=utf-8")
        text = f'<?xml version="1.0" encoding="UTF-8"?>{_xml(name, document)}'
        return Response(text, status=status, content_type="text/xml;charset=utf-8")

    def make_jobs(self) -> ResponseReturnValue:
        """Create jobs as ordered."""
        orders = _JobsOrder.model_validate_json(request.get_data()).jobs
        jobs = [
            self._jobs.create(
                **order.model_dump(exclude={"job_id"}), job_id=order.job_id or self._new_id().hex
            )
            for order in orders
        ]
        return {"job_ids": [job.job_id for job in jobs]}, 201

    def show_job(self, job_id: str) -> ResponseReturnValue:
        """Show one job as it is reported now, and its timetable."""
        job = self._jobs.find(job_id)
        return _shown(job, self._clock()) if job else ({"error": "No such job."}, 404)

    def show_calls(self) -> ResponseReturnValue:
        """Show the calls so far."""
        with self._lock:
            return {
                "calls": self._call_count,
                "ids": self._id_count,
                "ids_per_call": list(self._ids_per_call),
                "at": list(self._at),
            }

    def change_faults(self) -> ResponseReturnValue:
        """Order a fault, show the faults, or clear them."""
        if request.method == "POST":
            self._faults.order(request.get_data())
        if request.method == "DELETE":
            self._faults.clear()
        return {"faults": self._faults.shown()}, 201 if request.method == "POST" else 200


def _received() -> Call:
    body = request.get_data(cache=True)
    return Call(
        method=request.method,
        headers={name.lower(): value for name, value in request.headers.items()},
        query=request.args.to_dict(),
        form=request.form.to_dict(),
        body=body,
    )


def _error(failure: Failure) -> dict[str, Any]:
    return {
        "HostId": request.host,
        "Code": failure.code,
        "Message": failure.message,
        "Recommend": f"https://error-center.aliyun.com/status/search?Keyword={failure.code}",
    }


def _shown(job: Job, now: Micros) -> dict[str, Any]:
    seconds = {"init_seconds": job.processing_at - job.created_at, "seconds": job.ended_at - job.created_at}
    return job.as_reported(now) | {name: length / US_PER_SECOND for name, length in seconds.items()}


def _xml(name: str, value: object) -> str:
    """Write a document as the provider does: a list is the same element again and again."""
    match value:
        case list():
            return "".join(_xml(name, item) for item in value)
        case dict():
            return f"<{name}>{''.join(_xml(child, item) for child, item in value.items())}</{name}>"
        case _:
            return f"<{name}>{escape(str(value), quote=False)}</{name}>"


def _invalid(error: ValidationError) -> ResponseReturnValue:
    """Say what is wrong with an order, without repeating it."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return {"errors": [{"at": list(fault["loc"]), "detail": fault["msg"]} for fault in faults]}, 422
