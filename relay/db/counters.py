"""Totals that the fleet's processes have counted."""

from collections.abc import Mapping

from sqlalchemy import update

from relay.db.engine import Tx
from relay.db.statements import insert_if_absent
from relay.db.tables import Counter


def add_totals(tx: Tx, counted: Mapping[tuple[str, str], int]) -> None:
    """Add a process's counts to the fleet's totals, in one order, so that none deadlocks."""
    for (name, label), count in sorted(counted.items()):
        total = (Counter.name == name) & (Counter.label == label)
        statement = update(Counter).where(total).values(value=Counter.value + count)
        if not tx.execute(statement).rowcount:
            insert_if_absent(tx, Counter, [{"name": name, "label": label, "value": 0}])
            tx.execute(statement)
