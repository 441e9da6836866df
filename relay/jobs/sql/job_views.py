"""Jobs as their subscribers read them."""

from typing import Any

from sqlalchemy import select

from relay.common.errors import NotFound
from relay.db.engine import Tx
from relay.db.tables import Job, Watch

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


def job(tx: Tx, subscriber_id: str, source: str, job_id: str) -> Any:
    """A job with what its source last said of it.

    Raises:
        NotFound: the subscriber neither watches nor watched it.
    """
    mine = select(Watch.id).where(Watch.job == Job.id, Watch.subscriber_id == subscriber_id).exists()
    row = tx.execute(
        select(*JOB_FACTS, Job.polled_at, Job.finished_at, Job.data, Job.data_bytes, Job.data_is_json).where(
            Job.source == source, Job.job_id == job_id, mine
        )
    ).one_or_none()
    if row is None:
        raise NotFound("you watch no such job")
    return row
