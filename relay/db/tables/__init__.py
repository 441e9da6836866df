"""Every table, its indexes and the rows that the database refuses.

Times are BIGINT microseconds. Ids, hashes, states and tokens are ASCII compared byte by byte, so
that `abC1` and `ABc1` are two jobs on every database. A finished row has `due_at` NULL, and the
indexes of claims are partial where the database can: they grow with the open rows only.
"""

from relay.db.tables.base import ID, Base
from relay.db.tables.counters import Counter
from relay.db.tables.deliveries import Attempt, BulkRetry, Delivery, Listing
from relay.db.tables.endpoints import Endpoint
from relay.db.tables.idempotency import IdempotentAnswer
from relay.db.tables.jobs import Job
from relay.db.tables.polling import JobType, PollPolicy, Upstream
from relay.db.tables.subscribers import ApiKey, SigningSecret, Subscriber
from relay.db.tables.watches import Watch

__all__ = [
    "ID",
    "ApiKey",
    "Attempt",
    "Base",
    "BulkRetry",
    "Counter",
    "Delivery",
    "Endpoint",
    "IdempotentAnswer",
    "Job",
    "JobType",
    "Listing",
    "PollPolicy",
    "SigningSecret",
    "Subscriber",
    "Upstream",
    "Watch",
]
