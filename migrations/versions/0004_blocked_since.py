"""Endpoints remember since when they have been blocked, beyond recoveries of less than an hour.

Nothing else may run: what an older process opens meanwhile has no `blocked_since` (it counts as
blocked since that opening). Where a circuit is open, it has been since it opened. On MySQL, which
commits each step by itself, an upgrade that was cut off can be begun anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "blocked_since"


def upgrade() -> None:
    if NAME not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("endpoints")}:
        with op.batch_alter_table("endpoints") as endpoints:
            endpoints.add_column(sa.Column(NAME, sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE endpoints SET blocked_since = opened_at WHERE blocked_since IS NULL AND opened_at IS NOT NULL"
    )


def downgrade() -> None:
    with op.batch_alter_table("endpoints") as endpoints:
        endpoints.drop_column(NAME)
