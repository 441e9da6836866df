"""Attempts have no foreign key to their delivery: it was half of the cost of an insert.

Each is inserted in the transaction that changes its delivery, and pruning deletes both. The way
back fails where an attempt has no delivery. On MySQL, which commits each step by itself, an upgrade
that was cut off can be begun anew.
"""

from alembic import op
from sqlalchemy import inspect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = "fk_attempts_delivery_id"


def upgrade() -> None:
    if not inspect(op.get_bind()).get_foreign_keys("attempts"):
        return
    with op.batch_alter_table("attempts") as attempts:
        attempts.drop_constraint(op.f(NAME), type_="foreignkey")


def downgrade() -> None:
    with op.batch_alter_table("attempts") as attempts:
        attempts.create_foreign_key(op.f(NAME), "deliveries", ["delivery_id"], ["id"], ondelete="CASCADE")
