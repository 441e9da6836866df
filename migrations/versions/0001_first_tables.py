"""The first tables."""

import sqlalchemy as sa
from alembic import op

from relay.db.column_types import ascii_text, long_text, serial, short_text, table_options, where_set

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _counters()
    _idempotent_answers()
    _job_types()
    _jobs()
    _poll_policies()
    _subscribers()
    _upstreams()
    _api_keys()
    _bulk_retries()
    _endpoints()
    _signing_secrets()
    _watches()
    _deliveries()
    _attempts()


def downgrade() -> None:
    op.drop_table("attempts")
    op.drop_table("deliveries")
    op.drop_table("watches")
    op.drop_table("signing_secrets")
    op.drop_table("endpoints")
    op.drop_table("bulk_retries")
    op.drop_table("api_keys")
    op.drop_table("upstreams")
    op.drop_table("subscribers")
    op.drop_table("poll_policies")
    op.drop_table("jobs")
    op.drop_table("job_types")
    op.drop_table("idempotent_answers")
    op.drop_table("counters")


def _counters() -> None:
    op.create_table(
        "counters",
        sa.Column("name", ascii_text(64), nullable=False),
        sa.Column("label", ascii_text(64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name=op.f("pk_counters")),
        **table_options(),
    )


def _idempotent_answers() -> None:
    op.create_table(
        "idempotent_answers",
        sa.Column("key", ascii_text(64), nullable=False),
        sa.Column("body_sha256", ascii_text(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("sealed", sa.SmallInteger(), nullable=False),
        sa.Column("answer", long_text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_idempotent_answers")),
        **table_options(),
    )
    op.create_index(
        op.f("ix_idempotent_answers_created_at"), "idempotent_answers", ["created_at"], unique=False
    )


def _job_types() -> None:
    op.create_table(
        "job_types",
        sa.Column("source", ascii_text(32), nullable=False),
        sa.Column("name", ascii_text(64), nullable=False),
        sa.Column("durations", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "name", name=op.f("pk_job_types")),
        **table_options(),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", serial(), autoincrement=True, nullable=False),
        sa.Column("source", ascii_text(32), nullable=False),
        sa.Column("job_id", ascii_text(64), nullable=False),
        sa.Column("status", ascii_text(16), nullable=False),
        sa.Column("type", long_text(), nullable=True),
        sa.Column("code", long_text(), nullable=True),
        sa.Column("message", long_text(), nullable=True),
        sa.Column("media_id", long_text(), nullable=True),
        sa.Column("creation_time", long_text(), nullable=True),
        sa.Column("complete_time", long_text(), nullable=True),
        sa.Column("data", long_text(), nullable=True),
        sa.Column("data_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data_is_json", sa.SmallInteger(), nullable=False),
        sa.Column("owner", ascii_text(40), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("token", ascii_text(32), nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("lost_count", sa.Integer(), nullable=False),
        sa.Column("missing_count", sa.Integer(), nullable=False),
        sa.Column("polled_at", sa.BigInteger(), nullable=True),
        sa.Column("hinted_at", sa.BigInteger(), nullable=True),
        sa.Column("hint_polls", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(status = 'open') = (finished_at IS NULL)", name=op.f("ck_jobs_finished")),
        sa.CheckConstraint("status = 'open' OR due_at IS NULL", name=op.f("ck_jobs_due")),
        sa.CheckConstraint("status IN ('open', 'success', 'fail')", name=op.f("ck_jobs_status")),
        sa.CheckConstraint("(hinted_at IS NULL) = (hint_polls IS NULL)", name=op.f("ck_jobs_hint")),
        sa.CheckConstraint("owner IS NULL OR due_at IS NOT NULL", name=op.f("ck_jobs_owner")),
        sa.CheckConstraint("token IS NULL OR due_at IS NOT NULL", name=op.f("ck_jobs_claim")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("source", "job_id", name=op.f("uq_jobs_source_job_id")),
        **table_options(),
    )
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["due_at"],
        unique=False,
        **where_set("due_at"),
    )
    op.create_index(
        "ix_jobs_hinted",
        "jobs",
        ["hinted_at"],
        unique=False,
        **where_set("hinted_at"),
    )
    op.create_index(
        "ix_jobs_owner",
        "jobs",
        ["owner", "due_at"],
        unique=False,
        **where_set("owner"),
    )


def _poll_policies() -> None:
    op.create_table(
        "poll_policies",
        sa.Column("source", ascii_text(32), nullable=False),
        sa.Column("refreshed_at", sa.BigInteger(), nullable=False),
        sa.Column("newest_job", sa.BigInteger(), nullable=False),
        sa.Column("new_jobs", sa.Double(), nullable=False),
        sa.Column("shares", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_poll_policies")),
        **table_options(),
    )


def _subscribers() -> None:
    op.create_table(
        "subscribers",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("name", short_text(100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribers")),
        sa.UniqueConstraint("name", name=op.f("uq_subscribers_name")),
        **table_options(),
    )


def _upstreams() -> None:
    op.create_table(
        "upstreams",
        sa.Column("source", ascii_text(32), nullable=False),
        sa.Column("next_call_at", sa.BigInteger(), nullable=False),
        sa.Column("rate_factor", sa.Double(), nullable=False),
        sa.Column("slowed_at", sa.BigInteger(), nullable=False),
        sa.Column("turn", ascii_text(40), nullable=False),
        sa.Column("failure_streak", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=False),
        sa.Column("down_since", sa.BigInteger(), nullable=True),
        sa.Column("error_code", short_text(200), nullable=True),
        sa.Column("error_detail", short_text(500), nullable=True),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("rate_factor > 0 AND rate_factor <= 1", name=op.f("ck_upstreams_rate")),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_upstreams")),
        **table_options(),
    )


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("sha256", ascii_text(64), nullable=False),
        sa.Column("hint", ascii_text(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_api_keys_subscriber_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
        **table_options(),
    )
    op.create_index(op.f("ix_api_keys_subscriber_id"), "api_keys", ["subscriber_id"], unique=False)


def _bulk_retries() -> None:
    op.create_table(
        "bulk_retries",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("status", ascii_text(16), nullable=False),
        sa.Column("endpoint_id", ascii_text(40), nullable=True),
        sa.Column("to_id", ascii_text(40), nullable=False),
        sa.Column("after_id", ascii_text(40), nullable=False),
        sa.Column("retried", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_bulk_retries_subscriber_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_retries")),
        **table_options(),
    )
    op.create_index(
        "ix_bulk_retries_due",
        "bulk_retries",
        ["due_at"],
        unique=False,
        **where_set("due_at"),
    )
    op.create_index(op.f("ix_bulk_retries_subscriber_id"), "bulk_retries", ["subscriber_id"], unique=False)


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("url", short_text(2048), nullable=False),
        sa.Column("url_key", ascii_text(64), nullable=True),
        sa.Column("description", short_text(500), nullable=True),
        sa.Column("headers_sealed", long_text(), nullable=True),
        sa.Column("status", ascii_text(16), nullable=False),
        sa.Column("disabled_reason", ascii_text(40), nullable=True),
        sa.Column("max_in_flight", sa.Integer(), nullable=False),
        sa.Column("rate_per_second", sa.Double(), nullable=True),
        sa.Column("ready_at", sa.BigInteger(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("proven", sa.SmallInteger(), nullable=False),
        sa.Column("allowance", sa.Integer(), nullable=False),
        sa.Column("failure_streak", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=True),
        sa.Column("open_until", sa.BigInteger(), nullable=False),
        sa.Column("probe_count", sa.Integer(), nullable=False),
        sa.Column("recovered_at", sa.BigInteger(), nullable=True),
        sa.Column("held_at", sa.BigInteger(), nullable=True),
        sa.Column("notices", sa.SmallInteger(), nullable=False),
        sa.Column("notice_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", short_text(500), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(status = 'active') = (held_at IS NULL)", name=op.f("ck_endpoints_held")),
        sa.CheckConstraint(
            "ready_at IS NULL OR (status = 'active' AND deleted_at IS NULL)", name=op.f("ck_endpoints_ready")
        ),
        sa.CheckConstraint("status IN ('active', 'paused', 'disabled')", name=op.f("ck_endpoints_status")),
        sa.CheckConstraint("(deleted_at IS NULL) = (url_key IS NOT NULL)", name=op.f("ck_endpoints_deleted")),
        sa.CheckConstraint("allowance >= 1 AND max_in_flight >= 1", name=op.f("ck_endpoints_pace")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_endpoints_subscriber_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoints")),
        sa.UniqueConstraint("subscriber_id", "url_key", name=op.f("uq_endpoints_subscriber_id_url_key")),
        **table_options(),
    )
    op.create_index(
        "ix_endpoints_held",
        "endpoints",
        ["held_at"],
        unique=False,
        **where_set("held_at"),
    )
    op.create_index("ix_endpoints_list", "endpoints", ["subscriber_id", "id"], unique=False)
    op.create_index(
        "ix_endpoints_notice",
        "endpoints",
        ["notice_at"],
        unique=False,
        **where_set("notice_at"),
    )
    op.create_index(
        "ix_endpoints_ready",
        "endpoints",
        ["proven", "ready_at"],
        unique=False,
        **where_set("ready_at"),
    )
    op.create_index(
        "ix_endpoints_turn",
        "endpoints",
        ["subscriber_id", "proven", "ready_at"],
        unique=False,
        **where_set("ready_at"),
    )


def _signing_secrets() -> None:
    op.create_table(
        "signing_secrets",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("endpoint_id", ascii_text(40), nullable=True),
        sa.Column("sealed", long_text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoints.id"], name=op.f("fk_signing_secrets_endpoint_id")
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_signing_secrets_subscriber_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_secrets")),
        **table_options(),
    )
    op.create_index(op.f("ix_signing_secrets_endpoint_id"), "signing_secrets", ["endpoint_id"], unique=False)
    op.create_index(
        op.f("ix_signing_secrets_subscriber_id"), "signing_secrets", ["subscriber_id"], unique=False
    )


def _watches() -> None:
    op.create_table(
        "watches",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("job", serial(), nullable=False),
        sa.Column("endpoint_id", ascii_text(40), nullable=False),
        sa.Column("query", short_text(2048), nullable=True),
        sa.Column("events", ascii_text(100), nullable=False),
        sa.Column("user_metadata", long_text(), nullable=False),
        sa.Column("status", ascii_text(16), nullable=False),
        sa.Column("waiting_key", ascii_text(64), nullable=True),
        sa.Column("missing_base", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(status = 'waiting') = (due_at IS NOT NULL)", name=op.f("ck_watches_due")),
        sa.CheckConstraint("(status = 'waiting') = (finished_at IS NULL)", name=op.f("ck_watches_finished")),
        sa.CheckConstraint(
            "(status = 'waiting') = (waiting_key IS NOT NULL)", name=op.f("ck_watches_waiting")
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'success', 'fail', 'missing', 'expired', 'cancelled')",
            name=op.f("ck_watches_status"),
        ),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"], name=op.f("fk_watches_endpoint_id")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_watches_job")),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscribers.id"], name=op.f("fk_watches_subscriber_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watches")),
        sa.UniqueConstraint("waiting_key", name=op.f("uq_watches_waiting_key")),
        **table_options(),
    )
    op.create_index(
        "ix_watches_due",
        "watches",
        ["due_at"],
        unique=False,
        **where_set("due_at"),
    )
    op.create_index("ix_watches_endpoint", "watches", ["endpoint_id", "id"], unique=False)
    op.create_index("ix_watches_job", "watches", ["job", "due_at"], unique=False)
    op.create_index("ix_watches_list", "watches", ["subscriber_id", "id"], unique=False)
    op.create_index(
        "ix_watches_waiting",
        "watches",
        ["subscriber_id", "due_at"],
        unique=False,
        **where_set("due_at"),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("subscriber_id", ascii_text(40), nullable=False),
        sa.Column("watch_id", ascii_text(40), nullable=True),
        sa.Column("endpoint_id", ascii_text(40), nullable=False),
        sa.Column("event", ascii_text(32), nullable=False),
        sa.Column("status", ascii_text(16), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("solo_at", sa.BigInteger(), nullable=True),
        sa.Column("token", ascii_text(32), nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("lost_count", sa.Integer(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("content", long_text(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.SmallInteger(), nullable=False),
        sa.Column("payload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("last_error", short_text(500), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'delivered') <= (delivered_at IS NOT NULL)", name=op.f("ck_deliveries_delivered")
        ),
        sa.CheckConstraint(
            "(status = 'pending') = (due_at IS NOT NULL OR solo_at IS NOT NULL)",
            name=op.f("ck_deliveries_due"),
        ),
        sa.CheckConstraint(
            "(status = 'pending') = (finished_at IS NULL)", name=op.f("ck_deliveries_finished")
        ),
        sa.CheckConstraint(
            "event IN ('ai_job.success', 'ai_job.fail', 'ai_job.missing', 'watch.expired',"
            " 'endpoint.disabled', 'relay.test')",
            name=op.f("ck_deliveries_event"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed', 'cancelled')", name=op.f("ck_deliveries_status")
        ),
        sa.CheckConstraint("token IS NULL OR status = 'pending'", name=op.f("ck_deliveries_claim")),
        sa.CheckConstraint("due_at IS NULL OR solo_at IS NULL", name=op.f("ck_deliveries_solo")),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"], name=op.f("fk_deliveries_endpoint_id")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_deliveries_subscriber_id")
        ),
        sa.ForeignKeyConstraint(["watch_id"], ["watches.id"], name=op.f("fk_deliveries_watch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        **table_options(),
    )
    op.create_index(
        "ix_deliveries_claimed",
        "deliveries",
        ["endpoint_id", "token"],
        unique=False,
        **where_set("token"),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["endpoint_id", "due_at"],
        unique=False,
        **where_set("due_at"),
    )
    op.create_index("ix_deliveries_endpoint", "deliveries", ["endpoint_id", "id"], unique=False)
    op.create_index("ix_deliveries_list", "deliveries", ["subscriber_id", "id"], unique=False)
    op.create_index(
        "ix_deliveries_solo",
        "deliveries",
        ["solo_at"],
        unique=False,
        **where_set("solo_at"),
    )
    op.create_index(op.f("ix_deliveries_watch_id"), "deliveries", ["watch_id"], unique=False)


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("delivery_id", ascii_text(40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", ascii_text(40), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", ascii_text(32), nullable=True),
        sa.Column("detail", short_text(500), nullable=True),
        sa.Column("response_body", long_text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_attempts_delivery_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_attempts")),
        **table_options(),
    )
