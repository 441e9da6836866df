"""Declares ListAIJob of Alibaba Cloud VOD as a source; importing this loads no HTTP client."""

from relay.common.events import EventType
from relay.common.states import WatchStatus
from relay.provider.list_ai_job.rules import results
from relay.provider.list_ai_job.rules.response_parser import IDS_PER_CALL
from relay.provider.source import JobSource, SourceClient
from relay.settings import Settings

EVENTS = (
    EventType("ai_job.success", "the job has ended well", WatchStatus.SUCCESS, by_default=True),
    EventType("ai_job.fail", "the job has failed", WatchStatus.FAIL, by_default=True),
    EventType("ai_job.missing", "the provider does not know the job", WatchStatus.MISSING, by_default=True),
)


def _connect(settings: Settings) -> SourceClient:
    from relay.provider.list_ai_job import connection  # noqa: PLC0415 - only who polls is to load requests

    return connection.connect(settings)


LIST_AI_JOB = JobSource(
    name="default",
    ids_per_call=IDS_PER_CALL,
    events=EVENTS,
    connect=_connect,
    calls_per_second=lambda settings: settings.upstream_rate,
    typed_result=results.view,
    sandbox="relay.sandbox.listaijob",
)
