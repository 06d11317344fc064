"""The first schema: threads, messages, turns and their journal, workers, attachments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# Spelled out here, not imported: a migration means the same for ever.
TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("registered_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_agents")),
    )
    op.create_table(
        "audit",
        sa.Column("key", KEY, sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_tenant_created_at", "audit", ["tenant", "created_at"])
    op.create_index("ix_audit_tenant_thread_id", "audit", ["tenant", "thread_id"])
    op.create_index(
        "ix_audit_names_file",
        "audit",
        ["tenant"],
        postgresql_where=sa.text("(details ->> 'sha256') is not null"),
        sqlite_where=sa.text("(details ->> 'sha256') is not null"),
    )

    op.create_table(
        "blobs",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="stored", nullable=False),
        sa.Column("scan", sa.Text(), nullable=True),
        sa.Column("scan_finding", sa.Text(), nullable=True),
        sa.Column("prepared_at", TIME, nullable=True),
        sa.Column("preparing_until", TIME, nullable=True),
        sa.Column("prepare_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("extracted_text", sa.Text(), nullable=True),
        sa.Column("extraction_problem", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("unreferenced_since", TIME, nullable=True),
        sa.CheckConstraint("state in ('pending', 'stored', 'deleting')", name=op.f("ck_blobs_state")),
        sa.CheckConstraint("scan in ('pending', 'clean', 'infected', 'refused')", name=op.f("ck_blobs_scan")),
        sa.PrimaryKeyConstraint("tenant", "sha256", name=op.f("pk_blobs")),
    )
    op.create_index("ix_blobs_tenant_sha256_size", "blobs", ["tenant", "sha256", "size"])
    for name, column, condition in (
        ("ix_blobs_unprepared", "created_at", "prepared_at is null"),
        ("ix_blobs_unscanned", "created_at", "scan is null"),
        ("ix_blobs_unreferenced_since", "unreferenced_since", "unreferenced_since is not null"),
    ):
        op.create_index(name, "blobs", [column], postgresql_where=sa.text(condition), sqlite_where=sa.text(condition))
    op.create_table(
        "renditions",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rendition_sha256", sa.Text(), nullable=False),
        sa.CheckConstraint("kind in ('thumbnail', 'model')", name=op.f("ck_renditions_kind")),
        sa.ForeignKeyConstraint(
            ["tenant", "sha256"],
            ["blobs.tenant", "blobs.sha256"],
            name=op.f("fk_renditions_tenant_sha256"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "rendition_sha256"],
            ["blobs.tenant", "blobs.sha256"],
            name=op.f("fk_renditions_tenant_rendition_sha256"),
        ),
        sa.PrimaryKeyConstraint("tenant", "sha256", "kind", name=op.f("pk_renditions")),
    )
    op.create_index("ix_renditions_tenant_made_sha256", "renditions", ["tenant", "rendition_sha256"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("completed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"])
    op.create_index("ix_uploads_tenant", "uploads", ["tenant"])
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("outcome", JSON, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("schedule", "due_at", name=op.f("pk_schedule_runs")),
    )
    op.create_table(
        "threads",
        sa.Column("key", KEY, sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("summary_id", sa.Uuid(), nullable=True),
        sa.Column("context_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("uncovered_messages", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("uncovered_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("history_starts_after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("legal_hold", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("summary_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("summary_retry_at", TIME, nullable=True),
        sa.Column("summary_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retained_from", TIME, nullable=True),
        sa.Column("retention_checked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_threads")),
        sa.UniqueConstraint("tenant", "id", name=op.f("uq_threads_tenant_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_threads_lease_owner", "threads", ["lease_owner"], postgresql_where=sa.text("lease_owner is not null")
    )
    op.create_index("ix_threads_tenant_updated_at_key", "threads", ["tenant", "updated_at", "key"])
    for counted in ("uncovered_messages", "uncovered_tokens"):
        op.create_index(
            f"ix_threads_agent_{counted}",
            "threads",
            ["agent", counted],
            postgresql_where=sa.text("summary_failures < 5"),
            sqlite_where=sa.text("summary_failures < 5"),
        )
    if op.get_bind().dialect.name == "postgresql":
        _create_retention_indexes()

    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("agents", JSON, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("lease_expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index("ix_workers_lease_expires_at", "workers", ["lease_expires_at"])

    op.create_table(
        "attachments",
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"], name=op.f("fk_attachments_tenant_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["thread_key"], ["threads.key"], name=op.f("fk_attachments_thread_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("thread_key", "message_id", "index", name=op.f("pk_attachments")),
    )
    op.create_index("ix_attachments_tenant_sha256", "attachments", ["tenant", "sha256"])

    op.create_table(
        "thread_context",
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_key"], ["threads.key"], name=op.f("fk_thread_context_thread_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("thread_key", "key", name=op.f("pk_thread_context")),
    )
    op.create_table(
        "summaries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("usage", JSON, nullable=True),
        sa.Column("cost", sa.Numeric(18, 9), nullable=True),
        sa.Column("prompt_version", sa.Text(), nullable=True),
        sa.Column("sections", JSON, nullable=True),
        sa.Column("report", JSON, nullable=True),
        sa.Column("previous_id", sa.Uuid(), nullable=True),
        sa.Column("restored_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_key"], ["threads.key"], name=op.f("fk_summaries_thread_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_summaries")),
    )
    op.create_index("ix_summaries_thread_key", "summaries", ["thread_key"])

    op.create_table(
        "turns",
        sa.Column("arrival_seq", KEY, sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("agent_version", sa.Text(), nullable=True),
        sa.Column("local_process_id", sa.Uuid(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashed_worker", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("requeued_from", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("not_before", TIME, nullable=True),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("deadline", TIME, nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.Text(), nullable=True),
        sa.Column("window_to_seq", sa.BigInteger(), nullable=True),
        sa.Column("window_summary_id", sa.Uuid(), nullable=True),
        sa.Column("window_context_version", sa.Integer(), nullable=True),
        sa.Column("notified_at", TIME, nullable=True),
        sa.Column("cancel_requested_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("error_kind", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_retryable", sa.Boolean(), nullable=True),
        sa.Column("error_fault", sa.Text(), nullable=True),
        sa.Column("usage", JSON, nullable=True),
        sa.Column("cost", sa.Numeric(precision=18, scale=9, asdecimal=False), nullable=True),
        sa.CheckConstraint(
            "state in ('queued', 'running', 'completed', 'failed', 'cancelled')", name=op.f("ck_turns_state")
        ),
        sa.ForeignKeyConstraint(["thread_key"], ["threads.key"], name=op.f("fk_turns_thread_key"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("arrival_seq", name=op.f("pk_turns")),
        sa.UniqueConstraint("id", name=op.f("uq_turns_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_turns_thread_key", "turns", ["thread_key"])
    op.create_index("ix_turns_finished_at", "turns", ["finished_at", "arrival_seq"])
    op.create_index(
        "ix_turns_unfinished",
        "turns",
        ["thread_key", "arrival_seq"],
        postgresql_where=sa.text("state in ('queued', 'running')"),
        sqlite_where=sa.text("state in ('queued', 'running')"),
    )
    op.create_index(
        "ix_turns_unfinished_tenant",
        "turns",
        ["tenant", "state"],
        postgresql_where=sa.text("state in ('queued', 'running')"),
        sqlite_where=sa.text("state in ('queued', 'running')"),
    )
    op.create_index(
        "uq_turns_tenant_idempotency_key",
        "turns",
        ["tenant", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key is not null"),
        sqlite_where=sa.text("idempotency_key is not null"),
    )

    op.create_table(
        "messages",
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("parts", JSON, nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("source", JSON, nullable=True),
        sa.Column("has_attachments", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=True),
        sa.Column("tool_calls", JSON, nullable=True),
        sa.Column("tool_call_id", sa.Text(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("provider_fields", sa.JSON(), nullable=True),
        sa.Column("usage", JSON, nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), server_default="complete", nullable=False),
        sa.CheckConstraint("role in ('system', 'user', 'assistant', 'tool')", name=op.f("ck_messages_role")),
        sa.CheckConstraint("state in ('complete', 'partial')", name=op.f("ck_messages_state")),
        sa.ForeignKeyConstraint(
            ["thread_key"], ["threads.key"], name=op.f("fk_messages_thread_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("thread_key", "seq", name=op.f("pk_messages")),
        sa.UniqueConstraint("thread_key", "id", name=op.f("uq_messages_thread_key_id")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_messages_search",
            "messages",
            [sa.text("to_tsvector('simple', left(content, 100000))")],
            postgresql_using="gin",
        )
    op.create_index(
        "ix_messages_system",
        "messages",
        ["thread_key", "seq"],
        postgresql_where=sa.text("role = 'system'"),
        sqlite_where=sa.text("role = 'system'"),
    )
    op.create_index("ix_messages_turn_id", "messages", ["turn_id"])

    op.create_table(
        "steps",
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.Column("result", JSON, nullable=True),
        sa.Column("usage", JSON, nullable=True),
        sa.Column("cost", sa.Numeric(precision=18, scale=9, asdecimal=False), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.CheckConstraint("kind in ('model', 'tool')", name=op.f("ck_steps_kind")),
        sa.CheckConstraint("state in ('started', 'finished', 'failed', 'unknown')", name=op.f("ck_steps_state")),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_steps_turn_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("turn_id", "index", name=op.f("pk_steps")),
    )
    op.create_table(
        "inbox_messages",
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("parts", JSON, nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("source", JSON, nullable=True),
        sa.Column("has_attachments", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_inbox_messages_turn_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("turn_id", "index", name=op.f("pk_inbox_messages")),
    )
    _create_retention_tables()
    if op.get_bind().dialect.name == "sqlite":
        _create_sqlite_search()


def _create_retention_indexes() -> None:
    """Index threads by what makes them due, and by their user."""
    needs_check = sa.text("retention_checked_at is null or retention_checked_at < updated_at")
    op.create_index("ix_threads_idle", "threads", ["tenant", sa.text("coalesce(agent, '')"), "updated_at", "key"])
    op.create_index(
        "ix_threads_oldest",
        "threads",
        ["tenant", sa.text("coalesce(agent, '')"), sa.text("coalesce(retained_from, created_at)"), "key"],
        postgresql_where=needs_check,
    )
    op.create_index(
        "ix_threads_fullest",
        "threads",
        ["tenant", sa.text("coalesce(agent, '')"), sa.text("(last_seq - history_starts_after)"), "key"],
        postgresql_where=needs_check,
    )
    op.create_index(
        "ix_threads_user",
        "threads",
        ["tenant", sa.text("(metadata ->> 'user')")],
        postgresql_where=sa.text("metadata ->> 'user' is not null"),
    )


def _create_retention_tables() -> None:
    op.create_table(
        "retention_policies",
        sa.Column("key", KEY, sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("idle_days", sa.Double(), nullable=True),
        sa.Column("max_age_days", sa.Double(), nullable=True),
        sa.Column("max_messages", sa.Integer(), nullable=True),
        sa.Column("keep_last", sa.Integer(), nullable=True),
        sa.Column("keep_summary", sa.Boolean(), nullable=True),
        sa.Column("archive", sa.Boolean(), nullable=True),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_retention_policies")),
        sa.UniqueConstraint("tenant", "agent", "thread_id", name=op.f("uq_retention_policies_tenant_agent_thread_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "retention_rescans",
        sa.Column("key", KEY, sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("after_tenant", sa.Text(), server_default="", nullable=False),
        sa.Column("after_id", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_retention_rescans")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pending_deletions",
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("cut_before", sa.BigInteger(), nullable=False),
        sa.Column("deleted_to", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("keep_summary", sa.Boolean(), nullable=False),
        sa.Column("archive", sa.Boolean(), nullable=False),
        sa.Column("policy", JSON, nullable=False),
        sa.Column("summary_id", sa.Uuid(), nullable=True),
        sa.Column("erasure_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["thread_key"], ["threads.key"], name=op.f("fk_pending_deletions_thread_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("thread_key", name=op.f("pk_pending_deletions")),
    )
    op.create_table(
        "archives",
        sa.Column("key", KEY, sa.Identity(always=False), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("thread_key", sa.BigInteger(), nullable=False),
        sa.Column("thread_sha256", sa.Text(), nullable=False),
        sa.Column("user_sha256", sa.Text(), nullable=True),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("state in ('writing', 'stored', 'discarded')", name=op.f("ck_archives_state")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_archives")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_archives_sha256", "archives", ["sha256"])
    op.create_index("ix_archives_tenant_thread_sha256", "archives", ["tenant", "thread_sha256"])
    op.create_index("ix_archives_tenant_user_sha256", "archives", ["tenant", "user_sha256"])
    op.create_index("ix_archives_thread_key", "archives", ["thread_key"])
    op.create_index(
        "ix_archives_begun",
        "archives",
        ["created_at"],
        postgresql_where=sa.text("state <> 'stored'"),
        sqlite_where=sa.text("state <> 'stored'"),
    )
    op.create_table(
        "dropped_files",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("thread_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_sha256", sa.Text(), nullable=False),
        sa.Column("user_sha256", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "sha256"],
            ["blobs.tenant", "blobs.sha256"],
            name=op.f("fk_dropped_files_tenant_sha256"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "sha256", "thread_key", name=op.f("pk_dropped_files")),
    )
    op.create_index("ix_dropped_files_tenant_thread_sha256", "dropped_files", ["tenant", "thread_sha256"])
    op.create_index("ix_dropped_files_tenant_user_sha256", "dropped_files", ["tenant", "user_sha256"])
    op.create_index("ix_dropped_files_thread_key", "dropped_files", ["thread_key"])
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_sha256", sa.Text(), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("certificate", JSON, nullable=True),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("user_key", sa.Text(), nullable=False),
        sa.Column("last_step_at", TIME, nullable=False),
        sa.CheckConstraint("subject in ('user', 'thread', 'tenant')", name=op.f("ck_erasures_subject")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index("ix_erasures_tenant_subject_sha256", "erasures", ["tenant", "subject_sha256"])
    op.create_index(
        "uq_erasures_under_way",
        "erasures",
        ["tenant", "subject", "subject_sha256"],
        unique=True,
        postgresql_where=sa.text("finished_at is null"),
        sqlite_where=sa.text("finished_at is null"),
    )
    op.create_table(
        "erasure_items",
        sa.Column("erasure_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("kind in ('thread', 'blob')", name=op.f("ck_erasure_items_kind")),
        sa.ForeignKeyConstraint(
            ["erasure_id"], ["erasures.id"], name=op.f("fk_erasure_items_erasure_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("erasure_id", "kind", "sha256", name=op.f("pk_erasure_items")),
    )


def _create_sqlite_search() -> None:
    """Create SQLite's full-text index: it reads `messages` by rowid and is kept up by triggers."""
    op.execute(
        "CREATE VIRTUAL TABLE messages_search USING fts5("
        "content, content='messages', content_rowid='rowid', tokenize='unicode61')"
    )
    op.execute(
        "CREATE TRIGGER messages_search_insert AFTER INSERT ON messages BEGIN "
        "INSERT INTO messages_search (rowid, content) VALUES (new.rowid, new.content); END"
    )
    op.execute(
        "CREATE TRIGGER messages_search_delete AFTER DELETE ON messages BEGIN "
        "INSERT INTO messages_search (messages_search, rowid, content) "
        "VALUES ('delete', old.rowid, old.content); END"
    )
