"""Deliveries are listed in a table of their own, so that moving one costs no index of the lists.

Nothing else may run: what an older process inserts meanwhile would not be listed. On MySQL, which
commits each step by itself, a run that was cut off is begun anew.
"""

import sqlalchemy as sa
from alembic import op

from relay.db.column_types import ascii_text, table_options, where_set

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OWNERS = {"subscriber_id": "subscribers", "endpoint_id": "endpoints", "watch_id": "watches"}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("LOCK TABLE deliveries IN EXCLUSIVE MODE")
    op.execute("DROP TABLE IF EXISTS delivery_listings")
    op.create_table(
        "delivery_listings",
        sa.Column("delivery_id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("endpoint_id", ascii_text(40), nullable=False),
        sa.Column("watch_id", ascii_text(40), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name=op.f("fk_delivery_listings_delivery_id"),
            ondelete="CASCADE",
        ),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_delivery_listings_{column}"))
            for column, table in OWNERS.items()
        ),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_delivery_listings")),
        **table_options(),
    )
    op.create_index("ix_delivery_listings_subscriber", "delivery_listings", ["subscriber_id", "delivery_id"])
    op.create_index("ix_delivery_listings_endpoint", "delivery_listings", ["endpoint_id", "delivery_id"])
    op.create_index(
        "ix_delivery_listings_watch",
        "delivery_listings",
        ["watch_id", "delivery_id"],
        **where_set("watch_id"),
    )
    op.execute(
        "INSERT INTO delivery_listings (delivery_id, subscriber_id, endpoint_id, watch_id)"
        " SELECT id, subscriber_id, endpoint_id, watch_id FROM deliveries"
    )
    with op.batch_alter_table("deliveries") as deliveries:
        for column in OWNERS:
            deliveries.drop_constraint(op.f(f"fk_deliveries_{column}"), type_="foreignkey")
        for name in ("ix_deliveries_endpoint", "ix_deliveries_list", "ix_deliveries_watch_id"):
            deliveries.drop_index(name)


def downgrade() -> None:
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.create_index("ix_deliveries_endpoint", ["endpoint_id", "id"])
        deliveries.create_index("ix_deliveries_list", ["subscriber_id", "id"])
        deliveries.create_index("ix_deliveries_watch_id", ["watch_id"])
        for column, table in OWNERS.items():
            deliveries.create_foreign_key(op.f(f"fk_deliveries_{column}"), table, [column], ["id"])
    op.drop_table("delivery_listings")
