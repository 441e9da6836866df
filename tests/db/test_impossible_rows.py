"""Rows that cannot be true are refused by every database, whatever the code above it does."""

import secrets
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from relay.db.engine import Store, Tx
from relay.db.tables import Delivery, Endpoint, Job, Listing, Subscriber, Watch

ENDPOINT = {
    "url": "https://example.com",
    "url_key": "k",
    "status": "active",
    "max_in_flight": 10,
    "created_at": 1,
}
JOB = {"source": "default", "status": "open", "created_at": 1}
WATCH = {
    "events": "ai_job.success",
    "user_metadata": "{}",
    "status": "waiting",
    "waiting_key": "k",
    "missing_base": 0,
    "created_at": 1,
    "expires_at": 2,
    "due_at": 2,
}
DELIVERY = {
    "event": "relay.test",
    "status": "pending",
    "due_at": 1,
    "schedule_started_at": 1,
    "created_at": 1,
}
FINISHED = {"due_at": None, "finished_at": 2}
ENDED_WATCH = FINISHED | {"waiting_key": None}

Row = dict[str, Any]
POSSIBLE: list[tuple[Any, Row]] = [
    (Endpoint, {}),
    (Endpoint, {"ready_at": 1}),
    (Endpoint, {"status": "paused", "held_at": 2}),
    (Endpoint, {"status": "disabled", "held_at": 2, "notice_at": 2}),
    (Endpoint, {"deleted_at": 2, "url_key": None}),
    (Job, {}),
    (Job, {"due_at": 1, "token": "t"}),
    (Job, {"due_at": 1, "provider_event_at": 1, "provider_event_polls": 0}),
    (Job, {"due_at": 1, "owner": "sub_1"}),
    (Job, {"status": "success", "finished_at": 2}),
    (Watch, {}),
    (Watch, {"status": "cancelled"} | ENDED_WATCH),
    (Delivery, {}),
    (Delivery, {"token": "t"}),
    (Delivery, {"event": "ai_job.progress"}),  # events are declared in code: a new one needs no migration
    (Delivery, {"due_at": None, "solo_at": 1, "token": "t"}),
    (Delivery, {"delivered_at": 2}),  # sent again by hand
    (Delivery, {"status": "delivered", "delivered_at": 2} | FINISHED),
    (Delivery, {"status": "failed"} | FINISHED),
]
IMPOSSIBLE: list[tuple[str, Any, Row]] = [
    ("ck_endpoints_status", Endpoint, {"status": "asleep", "held_at": 2}),
    ("ck_endpoints_ready", Endpoint, {"status": "paused", "held_at": 2, "ready_at": 1}),
    ("ck_endpoints_ready", Endpoint, {"deleted_at": 2, "url_key": None, "ready_at": 1}),
    ("ck_endpoints_held", Endpoint, {"status": "paused"}),
    ("ck_endpoints_held", Endpoint, {"held_at": 2}),
    ("ck_endpoints_deleted", Endpoint, {"deleted_at": 2}),
    ("ck_endpoints_deleted", Endpoint, {"url_key": None}),
    ("ck_endpoints_pace", Endpoint, {"concurrency_limit": 0}),
    ("ck_endpoints_pace", Endpoint, {"max_in_flight": 0}),
    ("ck_jobs_status", Job, {"status": "missing", "finished_at": 2}),
    ("ck_jobs_finished", Job, {"status": "success"}),
    ("ck_jobs_finished", Job, {"finished_at": 2}),
    ("ck_jobs_due", Job, {"status": "fail", "finished_at": 2, "due_at": 1}),
    ("ck_jobs_claim", Job, {"token": "t"}),
    ("ck_jobs_owner", Job, {"owner": "sub_1"}),
    ("ck_jobs_hint", Job, {"provider_event_at": 1}),
    ("ck_jobs_hint", Job, {"provider_event_polls": 1}),
    ("ck_watches_status", Watch, {"status": "lost"} | ENDED_WATCH),
    ("ck_watches_due", Watch, {"due_at": None}),
    ("ck_watches_due", Watch, {"status": "success"} | ENDED_WATCH | {"due_at": 2}),
    ("ck_watches_waiting", Watch, {"waiting_key": None}),
    ("ck_watches_waiting", Watch, {"status": "success"} | ENDED_WATCH | {"waiting_key": "k"}),
    ("ck_watches_finished", Watch, {"finished_at": 2}),
    ("ck_watches_finished", Watch, {"status": "expired"} | ENDED_WATCH | {"finished_at": None}),
    ("ck_deliveries_status", Delivery, {"status": "held"} | FINISHED),
    ("ck_deliveries_due", Delivery, {"due_at": None}),
    ("ck_deliveries_due", Delivery, {"status": "failed", "finished_at": 2}),
    ("ck_deliveries_solo", Delivery, {"solo_at": 1}),
    ("ck_deliveries_due", Delivery, {"status": "failed", "solo_at": 1} | FINISHED),
    ("ck_deliveries_finished", Delivery, {"finished_at": 2}),
    ("ck_deliveries_finished", Delivery, {"status": "cancelled", "due_at": None}),
    ("ck_deliveries_delivered", Delivery, {"status": "delivered"} | FINISHED),
    ("ck_deliveries_claim", Delivery, {"status": "failed", "token": "t"} | FINISHED),
]


def fresh() -> str:
    return secrets.token_hex(8)


def unique(row: Row) -> Row:
    """The row with keys of its own where it has keys that must be unique."""
    return row | {key: fresh() for key in ("url_key", "waiting_key") if row.get(key) is not None}


def put(tx: Tx, table: Any, changes: Row) -> None:
    """Insert a row that only the changes make impossible, and all rows that it refers to."""
    subscriber, endpoint = {"subscriber_id": fresh()}, {"endpoint_id": fresh()}
    tx.execute(insert(Subscriber), {"id": subscriber["subscriber_id"], "name": fresh(), "created_at": 1})
    if table is Endpoint:
        tx.execute(insert(Endpoint), unique(ENDPOINT | subscriber | {"id": fresh()} | changes))
        return
    job = unique(JOB | {"job_id": fresh()} | (changes if table is Job else {}))
    key = tx.execute(insert(Job), job).inserted_primary_key
    if table is Job:
        return
    tx.execute(insert(Endpoint), unique(ENDPOINT | subscriber | {"id": endpoint["endpoint_id"]}))
    owner = subscriber | endpoint | {"id": fresh()}
    if table is Watch:
        assert key is not None
        tx.execute(insert(Watch), unique(WATCH | owner | {"job": key[0]} | changes))
    else:
        tx.execute(insert(Delivery), unique(DELIVERY | owner | changes))


@pytest.mark.usefixtures("unordered_locks")
def test_rows_that_can_be_true_are_taken(store: Store) -> None:
    def put_and_undo(tx: Tx) -> None:
        for table, changes in POSSIBLE:
            put(tx, table, changes)
        raise LookupError("nobody else is to find these rows")

    with pytest.raises(LookupError):
        store.write(put_and_undo)


def test_rows_that_cannot_be_true_are_refused_at_once_by_the_rule_they_break(store: Store) -> None:
    for rule, table, changes in IMPOSSIBLE:
        with pytest.raises(DBAPIError) as caught:
            store.write(put, table, changes)
        assert rule in str(caught.value), (rule, changes)


def test_every_rule_of_the_tables_is_tried() -> None:
    rules = {
        constraint.name
        for table in (Endpoint, Job, Watch, Delivery)
        for constraint in table.__table__.constraints  # type: ignore[attr-defined]
        if str(constraint.name).startswith("ck_")
    }
    assert rules == {rule for rule, _, _ in IMPOSSIBLE}


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (Endpoint, ENDPOINT | {"id": "e1", "subscriber_id": "nobody"}),
        (Listing, {"delivery_id": "nothing", "subscriber_id": "nobody", "endpoint_id": "nowhere"}),
    ],
)
def test_a_row_that_refers_to_nothing_is_refused(store: Store, table: Any, row: Row) -> None:
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
        store.write(lambda tx: tx.execute(insert(table), unique(row)))


def test_what_must_be_unique_is(store: Store) -> None:
    def twice(tx: Tx, table: Any, changes: Row) -> None:
        put(tx, table, changes)
        put(tx, table, changes)

    with pytest.raises(DBAPIError, match=r"uq_jobs_source_job_id|jobs\.source, jobs\.job_id"):
        store.write(twice, Job, {"job_id": fresh()})
    row = ENDPOINT | {"subscriber_id": fresh(), "url_key": fresh()}

    def two_of_one_url(tx: Tx) -> None:
        tx.execute(insert(Subscriber), {"id": row["subscriber_id"], "name": fresh(), "created_at": 1})
        tx.execute(insert(Endpoint), [row | {"id": fresh()}, row | {"id": fresh()}])

    with pytest.raises(DBAPIError, match="url_key"):
        store.write(two_of_one_url)
