"""Jobs: what the provider last said of a job that the subscriber watches or watched."""

import re
from typing import Any

from flask import Response
from pydantic import ConfigDict

from relay.api.auth import subscriber_id
from relay.api.context import ctx
from relay.api.queries import Query
from relay.api.responses import Document, json_response, shown_time, write_json
from relay.api.v1.resource import JOB_ID, Source, resource
from relay.common.errors import NotFound
from relay.common.states import JobStatus
from relay.jobs.sql import job_views
from relay.provider.registry import DEFAULT_SOURCE, SOURCES
from relay.sending.rules import webhook


class JobQuery(Query):
    """Which source's job to show; other parameters are ignored, as they always were."""

    model_config = ConfigDict(extra="ignore")

    source: Source = DEFAULT_SOURCE


routes = resource("jobs")


@routes.get("/jobs/<job_id>")
def get_job(job_id: str) -> Response:
    """Show a job, with its `data` and a typed view of it."""
    if not re.fullmatch(JOB_ID, job_id):
        raise NotFound("you watch no such job")
    source = JobQuery.read_query().source
    row = ctx.store.read(job_views.job, subscriber_id(), source, job_id)
    document = summary(row) | source_member(source)
    document |= {
        "polled_at": shown_time(row.polled_at),
        "finished_at": shown_time(row.finished_at),
    }
    if row.data is None and row.data_bytes:  # longer than the database takes
        document["data_omitted"] = True
    data = "null" if row.status == JobStatus.OPEN else webhook.data_text(row.data, row.data_is_json)
    document["result"] = None if data == "null" else SOURCES[source].typed_result(row.type, data)
    # The provider's text is spliced in, as in webhooks: parsing it would change numbers.
    return json_response(f'{write_json(document)[:-1]},"data":{data}}}')


def summary(row: Any) -> Document:
    """The members of a job that a watch shows too."""
    return {column.key: getattr(row, column.key) for column in job_views.JOB_FACTS}


def source_member(source: str) -> Document:
    """The member that names a job's source; the default one is not named."""
    return {} if source == DEFAULT_SOURCE else {"source": source}
