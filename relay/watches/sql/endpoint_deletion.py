"""Deletes an endpoint: cancels its waiting watches and its pending deliveries; history stays."""

from sqlalchemy import select

from relay.common.states import WatchStatus
from relay.common.time import Micros
from relay.db.engine import Tx
from relay.db.statements import among
from relay.db.tables import Watch
from relay.deliveries.sql import deliveries
from relay.endpoints.sql import endpoint_moves, endpoints
from relay.jobs.sql import jobs
from relay.jobs.sql import moves as job_moves
from relay.watches.sql import moves

CHUNK = 500  # jobs of one statement: few enough parameters for every database


def delete(tx: Tx, subscriber_id: str, endpoint_id: str, now: Micros) -> None:
    """Delete an endpoint: its waiting watches and pending deliveries are cancelled, history stays.

    An attempt in flight finishes and is not made again. Of a long backlog the first part is
    cancelled here and the rest by housekeeping; all of it reads as cancelled. A watch that is being
    registered at this moment is cancelled when its job ends.

    Raises:
        NotFound: the endpoint is not the subscriber's.
    """
    waiting = (Watch.endpoint_id == endpoint_id) & Watch.due_at.is_not(None)
    mine = waiting & (Watch.subscriber_id == subscriber_id)
    keys = sorted(set(tx.scalars(select(Watch.job).where(mine))))
    chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    for chunk in chunks:
        jobs.lock_in_order(tx, chunk)
    endpoints.lock_own(tx, subscriber_id, endpoint_id)
    for chunk in chunks:
        moves.end_where(tx, waiting & among(tx, Watch.job, chunk), WatchStatus.CANCELLED, now)
        job_moves.suspend(tx, chunk)
    deliveries.cancel_of_endpoint(tx, endpoint_id, now)
    deliveries.cancel_tests(tx, endpoint_id, now)
    endpoint_moves.delete(tx, endpoint_id, now)
