"""Provider events: `POST /hooks/vod` takes VOD's notifications, so that their jobs are polled next.

The provider wants exactly 200, within 5 seconds, and tries only three times. So any signed body is
answered 200, after one short transaction and without asking the provider. Its content is never
believed.
"""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from relay import telemetry
from relay.api import bodies
from relay.api.context import ctx
from relay.api.problems import Problem
from relay.api.responses import json_response
from relay.common.errors import NotFound
from relay.polling.sql import provider_events
from relay.provider.list_ai_job.declaration import LIST_AI_JOB
from relay.provider.list_ai_job.rules import events
from relay.telemetry.events import ProviderEventReceived, ProviderEventRefused

LIMIT = 8 << 20  # bytes: a notification carries a job's whole `Data`

routes = Blueprint("provider_events", __name__, url_prefix="/hooks")


@routes.post("/vod")
def post_vod_event() -> Response:
    """Take a signed notification: jobs that it names and that a watch waits for are polled next."""
    _require_signature()
    job_ids = events.job_ids(bodies.read_bytes(LIMIT))
    telemetry.emit(ProviderEventReceived(len(job_ids), _mark(job_ids)))
    return json_response("{}")


def _require_signature() -> None:
    url, keys = ctx.settings.vod_callback_url, ctx.settings.vod_callback_keys.get_secret_value()
    if url is None:
        raise NotFound("provider events are off: they need RELAY_VOD_CALLBACK_URL and RELAY_VOD_CALLBACK_KEY")
    is_signed = events.is_signed(
        url,
        keys,
        timestamp=request.headers.get("X-VOD-TIMESTAMP"),
        signature=request.headers.get("X-VOD-SIGNATURE"),
        now=ctx.clock.now(),
    )
    if not is_signed:
        telemetry.emit(ProviderEventRefused())
        bodies.discard(request.content_length or 0)
        raise Problem(401, "unauthorized", "The signature is missing, wrong or more than five minutes off.")


def _mark(job_ids: Sequence[str]) -> int:
    if not job_ids:
        return 0
    return ctx.store.write(provider_events.mark, LIST_AI_JOB.name, job_ids, ctx.clock.now())
