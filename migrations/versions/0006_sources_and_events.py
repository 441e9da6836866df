"""Jobs are found by source, and a new event needs no migration: nothing that is stored changes.

Events lose the CHECK that listed them, and a watch may ask for more of them. The indexes of open
jobs begin with the source, so that one source's backlog costs the others nothing. On MySQL, which
commits each step by itself, an upgrade that was cut off can be begun anew. The way back fails where
a newer event is stored, and where a watch asks for more than 100 characters of them.
"""

import sqlalchemy as sa
from alembic import op

from relay.db.column_types import ascii_text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CHECK = "ck_deliveries_event"
LISTED = (
    "event IN ('ai_job.success', 'ai_job.fail', 'ai_job.missing', 'watch.expired', 'endpoint.disabled',"
    " 'relay.test')"
)
NARROW, WIDE = 100, 1_000
# Name → columns, and the column that is NULL in rows that are not open.
OLD = {
    "ix_jobs_due": (["due_at"], "due_at"),
    "ix_jobs_owner": (["owner", "due_at"], "owner"),
    "ix_jobs_hinted": (["provider_event_at"], "provider_event_at"),
}
NEW = {
    "ix_jobs_due_of_source": (["source", "due_at"], "due_at"),
    "ix_jobs_owner_of_source": (["source", "owner", "due_at"], "owner"),
    "ix_jobs_provider_event": (["source", "provider_event_at"], "provider_event_at"),
}


def upgrade() -> None:
    replace_indexes(OLD, NEW)
    if has_check():
        with op.batch_alter_table("deliveries") as deliveries:
            deliveries.drop_constraint(op.f(CHECK), type_="check")
    set_width(NARROW, WIDE)


def downgrade() -> None:
    set_width(WIDE, NARROW)
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.create_check_constraint(op.f(CHECK), LISTED)
    replace_indexes(NEW, OLD)


def replace_indexes(old: dict[str, tuple[list[str], str]], new: dict[str, tuple[list[str], str]]) -> None:
    present = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("jobs")}
    for name, (columns, open_column) in new.items():
        if name not in present:
            is_open = sa.text(f"{open_column} IS NOT NULL")
            op.create_index(name, "jobs", columns, postgresql_where=is_open, sqlite_where=is_open)
    for name in old:
        if name in present:
            op.drop_index(name, "jobs")


def has_check() -> bool:
    checks = sa.inspect(op.get_bind()).get_check_constraints("deliveries")
    return CHECK in {check["name"] for check in checks}


def set_width(before: int, after: int) -> None:
    with op.batch_alter_table("watches") as watches:
        watches.alter_column(
            "events", existing_type=ascii_text(before), type_=ascii_text(after), existing_nullable=False
        )
