"""Statements whose SQL differs between databases do the same on all of them."""

from typing import Any

from relay.db.engine import Store
from relay.db.statements import insert_many
from relay.db.tables import Attempt
from relay.deliveries.sql.attempt_records import ATTEMPT_COLUMNS
from relay.deliveries.sql.delivery_payloads import ClaimedDelivery
from relay.sending.rules.webhook import Ended
from tests.support.flow import World


def test_rows_inserted_together_hold_what_they_were_given(store: Store) -> None:
    world = World(store)
    (one,) = world.enqueue(1)
    odd = "a,b;\t\"c\" \\ 'd' {e} \n %s 海 NULL"
    rows: list[tuple[Any, ...]] = [
        (one, 1, world.new_id("att"), 1, None, None, None, None, None),
        (one, 2, world.new_id("att"), 2**53, 0, 200, "dns", "", ""),
        (one, 3, world.new_id("att"), 3, 7, None, None, odd, odd * 100),
    ]
    for batch in (rows[:1], rows[1:], []):
        store.write(insert_many, Attempt, ATTEMPT_COLUMNS, batch)
    kept = [tuple(getattr(row, name) for name in ATTEMPT_COLUMNS) for row in world.attempts(one)]
    assert kept == rows


def test_a_claimed_row_has_its_jobs_columns_in_the_order_of_the_message() -> None:
    first, last = ClaimedDelivery._fields.index("job_id"), ClaimedDelivery._fields.index("rotations")
    names = [name.removeprefix("job_") for name in ClaimedDelivery._fields[first + 1 : last]]
    assert ["job_id", *names, "job_query"] == list(Ended._fields[4:])
