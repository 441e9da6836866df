"""Jobs as their subscribers read them."""

import json
from typing import Any

from sqlalchemy import select

from relay.common.errors import NotFound
from relay.common.states import JobStatus
from relay.db.engine import Tx
from relay.db.pagination import Document, shown_time
from relay.db.tables import Job, Watch
from relay.provider.source import SOURCE

JOB_FACTS = (
    Job.job_id,
    Job.status,
    Job.type,
    Job.code,
    Job.message,
    Job.media_id,
    Job.creation_time,
    Job.complete_time,
)


def job(tx: Tx, subscriber_id: str, job_id: str) -> tuple[Document, str]:
    """What the provider last said of a job, and its `data` as JSON text: verbatim where it is strict JSON.

    Raises:
        NotFound: the subscriber neither watches nor watched it.
    """
    mine = select(Watch.id).where(Watch.job == Job.id, Watch.subscriber_id == subscriber_id).exists()
    row = tx.execute(
        select(*JOB_FACTS, Job.polled_at, Job.finished_at, Job.data, Job.data_bytes, Job.data_is_json).where(
            Job.source == SOURCE, Job.job_id == job_id, mine
        )
    ).one_or_none()
    if row is None:
        raise NotFound("you watch no such job")
    facts = job_facts(row)
    times = {"polled_at": shown_time(row.polled_at), "finished_at": shown_time(row.finished_at)}
    if row.data is None and row.data_bytes:
        return facts | times | {"data_omitted": True}, "null"  # longer than the database takes
    if row.data is None or row.status == JobStatus.OPEN:
        return facts | times, "null"
    text = row.data.strip(" \t\r\n") if row.data_is_json else json.dumps(row.data, ensure_ascii=False)
    return facts | times, text


def job_facts(row: Any) -> Document:
    """The members of a job that a watch shows too."""
    return {column.key: getattr(row, column.key) for column in JOB_FACTS}
