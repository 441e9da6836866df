"""`POST /hooks/vod`: VOD's event notifications, as hints of which jobs to ask about next.

The provider wants exactly 200, within 5 seconds, and tries only three times. So whatever a signed body holds
is answered 200, after one short transaction and without asking the provider; what it says is never believed.
"""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from relay import telemetry
from relay.core import hints as core_hints
from relay.core.errors import NotFound
from relay.store import hints
from relay.web import bodies, parts
from relay.web.effects import json_response
from relay.web.problems import Problem

LIMIT = 8 << 20  # bytes: a notification carries a job's whole `Data`

hooks = Blueprint("hooks", __name__, url_prefix="/hooks")


@hooks.post("/vod")
def post_vod_event() -> Response:
    """Take a signed notification: the jobs that it names and somebody waits for are asked about next."""
    _require_signature()
    job_ids = core_hints.job_ids(bodies.read_bytes(LIMIT))
    telemetry.hint_received(len(job_ids), _mark(job_ids))
    return json_response("{}")


def _require_signature() -> None:
    here = parts.current()
    url, keys = here.settings.vod_callback_url, here.settings.vod_callback_keys.keys
    if url is None:
        raise NotFound("hints are off: they need RELAY_VOD_CALLBACK_URL and RELAY_VOD_CALLBACK_KEY")
    is_signed = core_hints.is_signed(
        url,
        keys,
        timestamp=request.headers.get("X-VOD-TIMESTAMP"),
        signature=request.headers.get("X-VOD-SIGNATURE"),
        now=here.clock.now(),
    )
    if not is_signed:
        telemetry.hint_refused()
        bodies.discard(request.content_length or 0)
        raise Problem(401, "unauthorized", "The signature is missing, wrong or more than five minutes off.")


def _mark(job_ids: Sequence[str]) -> int:
    if not job_ids:
        return 0
    here = parts.current()
    return here.store.write(hints.mark, job_ids, here.clock.now())
