"""The order in which a transaction locks rows, so that no two transactions wait for each other.

A transaction that waits for a lock holds none of a later table, and of the same table only rows
with lower primary keys. It may lock a row again. Two calls that each lock in order can together be
out of order, and did deadlock: so all watches that end in one transaction end in one call
(`watches.sql.watches.end`), which locks all their endpoints at once.

Claims pass over locked rows (`SKIP LOCKED`), so they wait for no row: a claim of jobs begins with
the provider's rate limiter, which a poll's result locks last, as briefly as possible. Watches are
not listed, as they change only under the lock of their job.

The tests watch every transaction for this order (`tests/support/lock_order.py`).
"""

from relay.db.tables import Base, BulkRetry, Delivery, Endpoint, IdempotentAnswer, Job, Upstream

LOCK_ORDER: tuple[type[Base], ...] = (IdempotentAnswer, BulkRetry, Job, Endpoint, Delivery, Upstream)
