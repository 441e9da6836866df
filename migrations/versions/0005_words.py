"""Columns are named by the field's own words: nothing that is stored changes.

Nothing else may run: what is older looks for the former names. On MySQL, which commits each step by
itself, an upgrade that was cut off can be begun anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

RENAMED = {
    "api_keys": {"hint": "key_prefix"},
    "endpoints": {"allowance": "concurrency_limit", "proven": "warmed_up"},
    "jobs": {"hinted_at": "provider_event_at", "hint_polls": "provider_event_polls"},
    "deliveries": {"step": "retry_count", "since": "schedule_started_at"},
    "upstreams": {"turn": "last_owner"},
    "poll_policies": {"shares": "quotas"},
}
# The CHECKs that name such a column. The databases rewrite them, but for MySQL, which refuses to
# rename.
CHECKS = {
    "endpoints": ("ck_endpoints_pace", "{allowance} >= 1 AND max_in_flight >= 1"),
    "jobs": ("ck_jobs_hint", "({hinted_at} IS NULL) = ({hint_polls} IS NULL)"),
}


def upgrade() -> None:
    for table, names in RENAMED.items():
        rename(table, names, names)


def downgrade() -> None:
    for table, names in RENAMED.items():
        rename(table, {new: old for old, new in names.items()}, {old: old for old in names})


def rename(table: str, changes: dict[str, str], names: dict[str, str]) -> None:
    """Rename columns that still have their old name; `names` are the CHECK's columns afterwards."""
    connection = op.get_bind()
    present = {column["name"] for column in sa.inspect(connection).get_columns(table)}
    renames = [f"RENAME COLUMN {old} TO {new}" for old, new in changes.items() if old in present]
    if renames and table in CHECKS and is_mysql(connection):
        check, condition = CHECKS[table]
        added = f"ADD CONSTRAINT {check} CHECK ({condition.format(**names)})"
        op.execute(f"ALTER TABLE {table} DROP CHECK {check}, {', '.join(renames)}, {added}")
        return
    for step in renames:
        op.execute(f"ALTER TABLE {table} {step}")


def is_mysql(connection: sa.Connection) -> bool:
    """Whether this is MySQL itself: MariaDB, which has the same driver, rewrites CHECKs."""
    return connection.dialect.name == "mysql" and not getattr(connection.dialect, "is_mariadb", False)
