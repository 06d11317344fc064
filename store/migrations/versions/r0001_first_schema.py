"""The first schema: threads, messages, turns and their journal, workers, attachments.

Keys and checks are named by the convention of `store.tables.metadata`, which stays as it is.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from store.functions import create_functions

revision = "0001"
down_revision = None

# Spelled out here, not imported: a migration means the same for ever.
TIME = sa.DateTime(timezone=True)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

#: The columns by which a row with a tenant of its own points to its thread, and those that they point to.
OWN_THREAD = (["thread_key", "tenant"], ["threads.key", "threads.tenant"])

#: The functions of PostgreSQL, each after those that it calls.
FUNCTIONS: tuple[str, ...] = (
    "canonical_json_v1",
    "send_turn_v1",
    "interrupt_turns_v1",
    "window_start_v1",
    "claim_turn_v1",
    "settle_turn_v1",
    "pick_wake_ups_v1",
    "refuse_v1",
    "check_id_v1",
    "check_metadata_v1",
    "named_user_v1",
    "check_message_v1",
    "request_digest_v1",
    "new_id_v1",
    "find_messages_v1",
    "send_message_v1",
    "send_message",
    "find_api_keys_v1",
    "find_inbound_source_v1",
    "note_key_uses_v1",
    "record_turn_event_v1",
    "record_switch_v1",
)


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("when_busy", sa.Text(), nullable=True),
        sa.Column("registered_at", TIME, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_tenant_created_at", "audit", ["tenant", "created_at"])
    op.create_index("ix_audit_tenant_thread_id", "audit", ["tenant", "thread_id"])
    _create_index_where("ix_audit_names_file", "audit", ["tenant"], "(details ->> 'sha256') is not null")

    op.create_table(
        "blobs",
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.Text(), primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="stored", nullable=False),
        sa.Column("scan", sa.Text(), nullable=True),
        sa.Column("scan_finding", sa.Text(), nullable=True),
        sa.Column("prepared_at", TIME, nullable=True),
        sa.Column("queue_place", TIME, nullable=True),
        sa.Column("preparing_since", TIME, nullable=True),
        sa.Column("preparing_until", TIME, nullable=True),
        sa.Column("prepare_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("extracted_text", sa.Text(), nullable=True),
        sa.Column("extraction_note", sa.Text(), nullable=True),
        sa.Column("left_out", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("unreferenced_since", TIME, nullable=True),
        sa.CheckConstraint("state in ('pending', 'stored', 'deleting')", name="state"),
        sa.CheckConstraint("scan in ('pending', 'clean', 'infected', 'refused')", name="scan"),
    )
    op.create_index("ix_blobs_tenant_sha256_size", "blobs", ["tenant", "sha256", "size"])
    _create_index_where("ix_blobs_queued", "blobs", ["tenant", "queue_place"], "queue_place is not null")
    _create_index_where("ix_blobs_preparing", "blobs", ["tenant"], "preparing_since is not null")
    _create_index_where("ix_blobs_unprepared", "blobs", ["tenant", "created_at"], "prepared_at is null")
    _create_index_where("ix_blobs_unscanned", "blobs", ["tenant", "created_at"], "scan is null")
    _create_index_where(
        "ix_blobs_unreferenced_since", "blobs", ["unreferenced_since"], "unreferenced_since is not null"
    )
    op.create_table(
        "renditions",
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("rendition_sha256", sa.Text(), nullable=False),
        sa.CheckConstraint("kind in ('thumbnail', 'model')", name="kind"),
        sa.ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant", "rendition_sha256"], ["blobs.tenant", "blobs.sha256"]),
    )
    op.create_index("ix_renditions_tenant_made_sha256", "renditions", ["tenant", "rendition_sha256"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("completed_at", TIME, nullable=True),
    )
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"])
    op.create_index("ix_uploads_tenant", "uploads", ["tenant"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("rotated_at", TIME, nullable=True),
        sa.Column("previous_sha256", sa.Text(), nullable=True),
        sa.Column("previous_expires_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.CheckConstraint("length(owner) between 1 and 255", name="owner"),
    )
    op.create_index("ix_api_keys_tenant", "api_keys", ["tenant", "id"])
    _create_index_where("ix_api_keys_owner", "api_keys", ["tenant", "owner"], "owner is not null")
    _create_installation()
    op.create_table(
        "idempotent_answers",
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.Column("claim", sa.Uuid(), nullable=False),
        sa.Column("claimed_until", TIME, nullable=False),
        sa.Column("made_id", sa.Uuid(), nullable=False),
        sa.Column("is_repeat", sa.Boolean(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("headers", JSON, nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("expires_at", TIME, nullable=False),
    )
    op.create_index("ix_idempotent_answers_expires_at", "idempotent_answers", ["expires_at"])
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", sa.Text(), primary_key=True),
        sa.Column("due_at", TIME, primary_key=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("outcome", JSON, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
    )
    op.create_table(
        "threads",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("root_key", KEY, nullable=True),
        sa.Column("parent_key", KEY, nullable=True),
        sa.Column("shared_to_seq", sa.BigInteger(), nullable=True),
        sa.Column("lineage", JSON, nullable=True),
        sa.Column("branch_origin", sa.Text(), nullable=True),
        sa.Column("branch_name", sa.Text(), nullable=True),
        sa.Column("chosen_key", KEY, nullable=True),
        sa.Column("chosen_fence", sa.BigInteger(), nullable=True),
        sa.Column("chosen_after_seq", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("when_busy", sa.Text(), nullable=True),
        sa.Column("summary_id", sa.Uuid(), nullable=True),
        sa.Column("uncovered_messages", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("uncovered_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("history_starts_after", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("legal_hold", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("assigned_agent", sa.Text(), nullable=True),
        sa.Column("begun_in", sa.Text(), nullable=True),
        sa.Column("ancestors", sa.Text(), nullable=True),
        sa.Column("summary_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("summary_retry_at", TIME, nullable=True),
        sa.Column("summary_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("context_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("window_tokens", sa.BigInteger(), nullable=True),
        sa.Column("retained_from", TIME, nullable=True),
        sa.Column("retention_checked_at", TIME, nullable=True),
        *_make_computed_columns(op.get_bind().dialect.name),
        sa.UniqueConstraint("tenant", "id"),
        sa.UniqueConstraint("key", "tenant"),
        sa.CheckConstraint("length(owner) between 1 and 255", name="owner"),
        sa.CheckConstraint("branch_origin in ('branch', 'regenerate', 'edit')", name="branch_origin"),
        *_list_keys_of_branches("sqlite"),
        postgresql_with={"fillfactor": 85},
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "sqlite":
        _point_to_own_summary()
    _create_index_where("ix_threads_begun_in", "threads", ["tenant", "begun_in"], "begun_in is not null")
    for column in ("root_key", "parent_key", "chosen_key"):
        _create_index_where(f"ix_threads_{column}", "threads", [column], f"{column} is not null")
    _create_index_where("ix_threads_owner", "threads", ["tenant", "owner", "key"], "owner is not null")
    _create_index_where("ix_threads_fills_window", "threads", ["agent"], "fills_window")
    has_period = "updated_period is not null"
    _create_index_where("ix_threads_tenant_updated_period", "threads", ["tenant", "updated_period"], has_period)
    for counted in ("messages", "tokens"):
        name, step = f"ix_threads_agent_uncovered_{counted}", f"uncovered_{counted}_step"
        _create_index_where(name, "threads", ["agent", step], f"summary_failures < 5 and {step} > 0")
    if op.get_bind().dialect.name == "postgresql":
        _create_retention_indexes()
        _renew_thread_indexes()
        _point_to_other_threads()

    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("agents", JSON, nullable=False),
        sa.Column("queues", JSON, server_default="[]", nullable=False),
        sa.Column("file_places", sa.Integer(), server_default="0", nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("lease_expires_at", TIME, nullable=False),
        sa.Column("beat_at", TIME, nullable=True),
        sa.Column("drain_requested_at", TIME, nullable=True),
    )
    op.create_index("ix_workers_lease_expires_at", "workers", ["lease_expires_at"])

    op.create_table(
        "attachments",
        sa.Column("thread_key", KEY, primary_key=True),
        sa.Column("message_id", sa.Text(), primary_key=True),
        sa.Column("index", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(*OWN_THREAD, ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"]),
    )
    op.create_index("ix_attachments_tenant_sha256", "attachments", ["tenant", "sha256"])
    if op.get_bind().dialect.name == "postgresql":
        _renew_attachment_index()

    op.create_table(
        "thread_context",
        sa.Column("thread_key", KEY, sa.ForeignKey("threads.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    )
    op.create_table(
        "summaries",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("thread_key", KEY, sa.ForeignKey("threads.key", ondelete="CASCADE"), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("usage", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("cost", sa.Numeric(18, 9), nullable=True),
        sa.Column("prompt_version", sa.Text(), nullable=True),
        sa.Column("sections", JSON, nullable=True),
        sa.Column("report", JSON, nullable=True),
        sa.Column("previous_id", sa.Uuid(), nullable=True),
        sa.Column("restored_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.UniqueConstraint("thread_key", "id"),
        sa.ForeignKeyConstraint(["thread_key", "previous_id"], ["summaries.thread_key", "summaries.id"]),
    )
    if op.get_bind().dialect.name == "postgresql":
        name, columns = "fk_threads_key_summary_id", ["key", "summary_id"]
        op.create_foreign_key(name, "threads", "summaries", columns, ["thread_key", "id"])
    op.create_index("ix_summaries_created_at", "summaries", ["created_at"])

    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "turns",
        # On PostgreSQL, each claim and each end would write to one index more.
        sa.Column("arrival_seq", KEY, sa.Identity(always=False), primary_key=is_sqlite, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("not_before", TIME, nullable=True),
        sa.Column("deadline", TIME, nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.Text(), nullable=True),
        sa.Column("local_process_id", sa.Uuid(), nullable=True),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("requeued_from", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("parent_turn_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("parent_call_id", sa.Text(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("when_busy", sa.Text(), nullable=True),
        sa.Column("steers", sa.Uuid(), nullable=True),
        sa.Column("interrupted_by", sa.Uuid(), nullable=True),
        sa.Column("rolled_back", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cancel_requested_at", TIME, nullable=True),
        sa.Column("cancel_requested_by", sa.Text(), nullable=True),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashed_worker", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("interruptions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("notified_at", TIME, nullable=True),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("waits_for", sa.Text(), nullable=True),
        sa.Column("wait_expires_at", TIME, nullable=True),
        sa.Column("window_to_seq", sa.BigInteger(), nullable=True),
        sa.Column("window_summary_id", sa.Uuid(), nullable=True),
        sa.Column("window_context_version", sa.Integer(), nullable=True),
        sa.Column("first_fencing_token", sa.BigInteger(), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("attempt_started_at", TIME, nullable=True),
        sa.Column("agent_version", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("merged_into", sa.Uuid(), nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("error_kind", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_retryable", sa.Boolean(), nullable=True),
        sa.Column("error_fault", sa.Text(), nullable=True),
        sa.Column("omitted", JSON, nullable=True),
        sa.Column("usage", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("cost", sa.Numeric(precision=18, scale=9, asdecimal=False), nullable=True),
        sa.CheckConstraint(
            "state in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'merged')", name="state"
        ),
        sa.CheckConstraint("when_busy in ('reject', 'interrupt', 'rollback', 'merge', 'steer')", name="when_busy"),
        sa.UniqueConstraint("id"),
        sa.ForeignKeyConstraint(*OWN_THREAD, ondelete="CASCADE"),
        postgresql_with={"fillfactor": 85},
        sqlite_autoincrement=True,
    )
    if not is_sqlite:
        op.execute("ALTER TABLE turns REPLICA IDENTITY USING INDEX uq_turns_id")
    _create_turn_indexes()
    _create_index_where(
        "uq_turns_tenant_idempotency_key",
        "turns",
        ["tenant", "idempotency_key"],
        "idempotency_key is not null",
        unique=True,
    )

    op.create_table(
        "messages",
        sa.Column("thread_key", KEY, sa.ForeignKey("threads.key", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, primary_key=True),
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
        sa.Column("usage", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), server_default="complete", nullable=False),
        sa.Column("rolled_back", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("role in ('system', 'user', 'assistant', 'tool')", name="role"),
        sa.CheckConstraint("state in ('complete', 'partial', 'truncated')", name="state"),
        sa.UniqueConstraint("thread_key", "id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_messages_search",
            "messages",
            [sa.text("to_tsvector('simple', left(content, 100000))")],
            postgresql_using="gin",
        )
    _create_index_where("ix_messages_system", "messages", ["thread_key", "seq"], "role = 'system'")
    op.create_index("ix_messages_turn_id", "messages", ["turn_id"])

    op.create_table(
        "steps",
        sa.Column("turn_id", sa.Uuid(), sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("index", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.Column("result", JSON, nullable=True),
        sa.Column("usage", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("cost", sa.Numeric(precision=18, scale=9, asdecimal=False), nullable=True),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.CheckConstraint("kind in ('model', 'tool', 'input')", name="kind"),
        sa.CheckConstraint("state in ('waiting', 'started', 'finished', 'failed', 'unknown')", name="state"),
    )
    _create_pending_calls()
    op.create_table(
        "turn_attempts",
        sa.Column("turn_id", sa.Uuid(), sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error_kind", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_fault", sa.Text(), nullable=True),
        sa.Column("next_try_at", TIME, nullable=True),
        sa.CheckConstraint(
            "outcome in ('retried', 'put_off', 'interrupted', 'crashed', 'waited', 'failed', 'cancelled')",
            name="outcome",
        ),
    )
    op.create_table(
        "inbox_messages",
        sa.Column("turn_id", sa.Uuid(), sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("index", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("parts", JSON, nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("source", JSON, nullable=True),
        sa.Column("has_attachments", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    _create_erasure_tables()
    _create_retention_tables()
    _create_schedules()
    _create_webhook_tables()
    _create_slack_messages()
    if op.get_bind().dialect.name == "sqlite":
        _create_sqlite_search()
        _create_sqlite_turn_events()
    else:
        create_functions(op.get_bind(), FUNCTIONS)


def _point_to_own_summary() -> None:
    """Make SQLite's threads anew, so that each points to a summary of its own: later, it takes no foreign key.

    As text, for of a column that is in one SQLAlchemy makes no key that is counted up.
    """
    connection = op.get_bind()
    table = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'threads'").scalar_one()
    connection.exec_driver_sql("DROP TABLE threads")
    key = 'CONSTRAINT fk_threads_key_summary_id FOREIGN KEY("key", summary_id) REFERENCES summaries (thread_key, id)'
    connection.exec_driver_sql(f"{table.rstrip().removesuffix(')').rstrip()},\n{key}\n)")


#: The columns by which threads name other threads, and what becomes of them with those.
KEYS_OF_BRANCHES = (("root_key", "CASCADE"), ("parent_key", None), ("chosen_key", None))


def _list_keys_of_branches(dialect: str) -> list[sa.ForeignKeyConstraint]:
    """List the keys by which threads name other threads, for the databases that take them with the table."""
    if op.get_bind().dialect.name != dialect:
        return []
    own = ["threads.key", "threads.tenant"]
    return [sa.ForeignKeyConstraint([column, "tenant"], own, ondelete=ends) for column, ends in KEYS_OF_BRANCHES]


def _point_to_other_threads() -> None:
    """Add these keys where they need an index of the table."""
    for column, ends in KEYS_OF_BRANCHES:
        own = ["key", "tenant"]
        op.create_foreign_key(f"fk_threads_{column}", "threads", "threads", [column, "tenant"], own, ondelete=ends)


def _renew_thread_indexes() -> None:
    """Make the indexes by which threads are found, by their id and by keys that point to them, the newest of the table.

    A session keeps the plan that was made while the table was empty, when all indexes that begin with a tenant
    seem to cost the same: then PostgreSQL takes the newest.
    """
    op.drop_constraint("uq_threads_tenant_id", "threads")
    op.create_unique_constraint("uq_threads_tenant_id", "threads", ["tenant", "id"])
    op.drop_constraint("uq_threads_key_tenant", "threads")
    op.create_unique_constraint("uq_threads_key_tenant", "threads", ["key", "tenant"])


def _renew_attachment_index() -> None:
    """Make the primary key of attachments their newest index: a thread's are not looked for among its tenant's."""
    op.drop_constraint("pk_attachments", "attachments")
    op.create_primary_key("pk_attachments", "attachments", ["thread_key", "message_id", "index"])


def _create_index_where(
    name: str, table: str, columns: Sequence[str | sa.TextClause], where: str, *, unique: bool = False
) -> None:
    """Create an index over the rows for which a condition holds."""
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def _make_computed_columns(dialect: str) -> list[sa.Column[object]]:
    """Make the columns of `threads` that the database computes: what indexes hold of those that each turn changes."""
    period = (
        "date_bin('00:10:00'::interval, updated_at, '1970-01-01 00:00:00+00'::timestamp with time zone)"
        if dialect == "postgresql"
        else "substr(updated_at, 1, 15) || '0:00.000000'"
    )
    return [
        sa.Column("updated_period", TIME, sa.Computed(period, persisted=True)),
        sa.Column("uncovered_messages_step", sa.BigInteger(), sa.Computed("uncovered_messages / 16", persisted=True)),
        sa.Column("uncovered_tokens_step", sa.BigInteger(), sa.Computed("uncovered_tokens / 1024", persisted=True)),
        sa.Column(
            "history_step", sa.BigInteger(), sa.Computed("(last_seq - history_starts_after) / 16", persisted=True)
        ),
        sa.Column("fills_window", sa.Boolean(), sa.Computed("uncovered_tokens * 2 >= window_tokens", persisted=True)),
        sa.Column(
            "needs_retention_check",
            sa.Boolean(),
            sa.Computed("retention_checked_at is null or retention_checked_at < updated_at", persisted=True),
        ),
    ]


def _create_pending_calls() -> None:
    """What turns wait for: a person's decision, a client's result, another turn's end."""
    op.create_table(
        "pending_calls",
        sa.Column("turn_id", sa.Uuid(), sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("call_id", sa.Text(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("arguments_digest", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=True),
        sa.Column("choices", JSON, nullable=True),
        sa.Column("schema", JSON, nullable=True),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("value", JSON, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('approval', 'question', 'client_tool', 'child')", name="kind"),
        sa.CheckConstraint("decision in ('approve', 'deny', 'edit', 'answer', 'result', 'closed')", name="decision"),
        sa.CheckConstraint("(decision is null) = (decided_at is null)", name="decided"),
    )
    _create_index_where(
        "ix_pending_calls_open", "pending_calls", ["tenant", "requested_at", "turn_id", "call_id"], "decision is null"
    )


def _create_turn_indexes() -> None:
    """Index turns by their state, by the thread whose head they may be, and by when the sweep looks at them."""
    unfinished = "state in ('queued', 'running', 'waiting')"
    must_end_at = "coalesce(cancel_requested_at, wait_expires_at, deadline)"
    of_state, others = ["state", "tenant", "finished_at", "arrival_seq"], sa.text("state <> 'completed'")
    op.create_index("ix_turns_state_tenant", "turns", of_state, postgresql_where=others)
    if op.get_bind().dialect.name == "postgresql":
        _create_index_where("ix_turns_completed", "turns", ["tenant", "finished_at"], "state = 'completed'")
    _create_index_where("ix_turns_finished_at", "turns", ["finished_at"], "finished_at is not null")
    has_not_begun: str | sa.TextClause = sa.text("(attempt = 0)")
    if op.get_bind().dialect.name == "postgresql":
        is_unfinished = sa.text(f"({unfinished})")
        op.create_index("ix_turns_of_thread", "turns", ["thread_key", is_unfinished, has_not_begun, "arrival_seq"])
    else:
        op.create_index("ix_turns_thread_key", "turns", ["thread_key", "arrival_seq"])
        in_thread = f"({unfinished}) is true"
        _create_index_where("ix_turns_unfinished", "turns", ["thread_key", has_not_begun, "arrival_seq"], in_thread)
    due_at = sa.text("(coalesce(retry_at, not_before, created_at))")
    _create_index_where("ix_turns_queued", "turns", ["notified_at", due_at], "state = 'queued'")
    _create_index_where("ix_turns_parent_turn_id", "turns", ["parent_turn_id"], "parent_turn_id is not null")
    _create_index_where("ix_turns_sender", "turns", ["tenant", "sender", "arrival_seq"], "sender is not null")
    _create_index_where("ix_turns_schedule_id", "turns", ["schedule_id", "arrival_seq"], "schedule_id is not null")
    _create_index_where(
        "ix_turns_must_end", "turns", [sa.text(f"({must_end_at})")], f"{unfinished} and {must_end_at} is not null"
    )
    interrupting = f"{unfinished} and when_busy in ('interrupt', 'rollback')"
    _create_index_where("ix_turns_interrupting", "turns", ["thread_key", "arrival_seq"], interrupting)
    rejecting = f"{unfinished} and when_busy = 'reject'"
    _create_index_where("uq_turns_rejecting", "turns", ["thread_key"], rejecting, unique=True)
    _create_index_where("ix_turns_steers", "turns", ["steers"], "state = 'queued' and steers is not null")
    _create_index_where("ix_turns_merged_into", "turns", ["merged_into"], "merged_into is not null")
    _create_index_where("ix_turns_rolled_back", "turns", ["thread_key", "arrival_seq"], "rolled_back")


def _create_retention_indexes() -> None:
    """Index threads by what makes them due."""
    group = ("tenant", sa.text("coalesce(agent, '')"))
    oldest, needs_check = sa.text("coalesce(retained_from, created_at)"), "needs_retention_check"
    _create_index_where("ix_threads_idle", "threads", [*group, "updated_period", "key"], "updated_period is not null")
    _create_index_where("ix_threads_oldest", "threads", [*group, oldest, "key"], needs_check)
    is_long = f"{needs_check} and history_step > 0"
    _create_index_where("ix_threads_fullest", "threads", [*group, "history_step", "key"], is_long)


def _create_erasure_tables() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_sha256", sa.Text(), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("certificate", JSON, nullable=True),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("last_step_at", TIME, nullable=False),
        sa.CheckConstraint("subject in ('user', 'thread', 'tenant')", name="subject"),
        sa.UniqueConstraint("tenant", "id"),
    )
    op.create_index("ix_erasures_tenant_subject_sha256", "erasures", ["tenant", "subject_sha256"])
    _create_index_where(
        "uq_erasures_under_way", "erasures", ["tenant", "subject", "subject_sha256"], "finished_at is null", unique=True
    )
    op.create_table(
        "erasure_items",
        sa.Column("erasure_id", sa.Uuid(), sa.ForeignKey("erasures.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.Text(), primary_key=True),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("kind in ('thread', 'shared', 'blob')", name="kind"),
    )


def _create_retention_tables() -> None:
    op.create_table(
        "retention_policies",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
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
        sa.UniqueConstraint("tenant", "agent", "thread_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "retention_rescans",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("after_tenant", sa.Text(), server_default="", nullable=False),
        sa.Column("after_id", sa.Text(), server_default="", nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pending_deletions",
        sa.Column("thread_key", KEY, primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("cut_before", sa.BigInteger(), nullable=False),
        sa.Column("deleted_to", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("keep_summary", sa.Boolean(), nullable=False),
        sa.Column("archive", sa.Boolean(), nullable=False),
        sa.Column("policy", JSON, nullable=False),
        sa.Column("summary_id", sa.Uuid(), nullable=True),
        sa.Column("erasure_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(*OWN_THREAD, ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["thread_key", "summary_id"], ["summaries.thread_key", "summaries.id"]),
        sa.ForeignKeyConstraint(["tenant", "erasure_id"], ["erasures.tenant", "erasures.id"]),
    )
    op.create_index("ix_pending_deletions_tenant_erasure_id", "pending_deletions", ["tenant", "erasure_id"])
    op.create_table(
        "archives",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
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
        sa.CheckConstraint("state in ('writing', 'stored', 'discarded')", name="state"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_archives_sha256", "archives", ["sha256"])
    op.create_index("ix_archives_tenant_thread_sha256", "archives", ["tenant", "thread_sha256"])
    op.create_index("ix_archives_tenant_user_sha256", "archives", ["tenant", "user_sha256"])
    op.create_index("ix_archives_thread_key", "archives", ["thread_key"])
    _create_index_where("ix_archives_begun", "archives", ["created_at"], "state <> 'stored'")
    op.create_table(
        "dropped_files",
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.Text(), primary_key=True),
        sa.Column("thread_key", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("thread_sha256", sa.Text(), nullable=False),
        sa.Column("user_sha256", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"], ondelete="CASCADE"),
    )
    op.create_index("ix_dropped_files_tenant_thread_sha256", "dropped_files", ["tenant", "thread_sha256"])
    op.create_index("ix_dropped_files_tenant_user_sha256", "dropped_files", ["tenant", "user_sha256"])
    op.create_index("ix_dropped_files_thread_key", "dropped_files", ["thread_key"])


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("owner_only", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=True),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=True),
        sa.Column("thread_rule", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("when_busy", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_due_at", TIME, nullable=True),
        sa.Column("last_turn_id", sa.Uuid(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.UniqueConstraint("id"),
        sa.CheckConstraint("(cron is null) <> (at is null)", name="timing"),
        sa.CheckConstraint("(thread_id is null) <> (thread_rule is null)", name="thread"),
        sa.CheckConstraint("catch_up in ('skip', 'one', 'all')", name="catch_up"),
        sa.CheckConstraint("state in ('active', 'paused', 'ended')", name="state"),
        sa.CheckConstraint("state <> 'active' or next_at is not null", name="next_at"),
        sa.CheckConstraint("length(owner) between 1 and 255", name="owner"),
        sqlite_autoincrement=True,
    )
    _create_schedule_indexes()
    op.create_table(
        "inbound_sources",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=True),
        sa.Column("secrets", JSON, nullable=False),
        sa.Column("mapping", JSON, nullable=False),
        sa.Column("only", JSON, nullable=False),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("when_busy", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("max_bytes", sa.Integer(), nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "scheme in ('github', 'hmac-sha256', 'standard-webhooks', 'stripe', 'token')", name="scheme"
        ),
    )
    op.create_index("ix_inbound_sources_tenant", "inbound_sources", ["tenant", "id"])


def _create_schedule_indexes() -> None:
    due_at = sa.text("(coalesce(retry_at, next_at))")
    _create_index_where("ix_schedules_due", "schedules", [due_at], "state = 'active'")
    op.create_index("ix_schedules_tenant", "schedules", ["tenant", "key"])
    _create_index_where("ix_schedules_thread_id", "schedules", ["tenant", "thread_id"], "thread_id is not null")
    _create_index_where("ix_schedules_owner", "schedules", ["tenant", "owner"], "owner is not null")
    _create_index_where("ix_schedules_ended", "schedules", ["updated_at"], "state = 'ended'")
    named: list[str | sa.TextClause] = ["tenant", sa.text("(coalesce(owner, ''))"), "name"]
    _create_index_where("uq_schedules_name", "schedules", named, "name is not null", unique=True)


def _create_webhook_tables() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("kinds", JSON, nullable=True),
        sa.Column("agents", JSON, nullable=True),
        sa.Column("link_template", sa.Text(), nullable=True),
        sa.Column("secrets", JSON, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint("state in ('enabled', 'disabled')", name="state"),
    )
    op.create_index("ix_webhooks_tenant", "webhooks", ["tenant", "created_at"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("thread_key", KEY, nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_at", TIME, nullable=False),
        sa.Column("claim", sa.Uuid(), nullable=True),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("last_tried_at", TIME, nullable=True),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("replayed_at", TIME, nullable=True),
        sa.UniqueConstraint("id"),
        sa.ForeignKeyConstraint(*OWN_THREAD, ondelete="CASCADE"),
        sa.CheckConstraint("state in ('pending', 'delivered', 'dead')", name="state"),
        sqlite_autoincrement=True,
    )
    table, pending = "webhook_deliveries", "state = 'pending'"
    op.create_index("ix_webhook_deliveries_thread_key", table, ["thread_key"])
    op.create_index("ix_webhook_deliveries_webhook_id", table, ["webhook_id", "key"])
    _create_index_where("ix_webhook_deliveries_due", table, ["webhook_id", "next_try_at", "key"], pending)
    _create_index_where("ix_webhook_deliveries_order", table, ["webhook_id", "thread_key", "key"], pending)
    _create_index_where("ix_webhook_deliveries_dead", table, ["webhook_id", "key"], "state = 'dead'")
    _create_index_where("ix_webhook_deliveries_finished_at", table, ["finished_at"], "finished_at is not null")


def _create_sqlite_turn_events() -> None:
    """Create SQLite's triggers that write a delivery for each webhook that is told of an event."""
    op.execute(
        "CREATE TRIGGER webhooks_record_turn_event AFTER UPDATE OF state ON turns "
        "WHEN new.state IN ('completed', 'failed', 'cancelled', 'waiting') AND old.state <> new.state BEGIN "
        "INSERT INTO webhook_deliveries "
        "(id, tenant, webhook_id, thread_key, turn_id, kind, created_at, details, state, next_try_at) "
        "SELECT lower(hex(randomblob(16))), new.tenant, webhooks.id, new.thread_key, new.id, 'turn.' || new.state, "
        "coalesce(new.finished_at, strftime('%Y-%m-%d %H\\:%M\\:%f', 'now') || '000'), "
        "json_object('agent', new.agent, 'error_kind', new.error_kind), 'pending', "
        "coalesce(new.finished_at, strftime('%Y-%m-%d %H\\:%M\\:%f', 'now') || '000') "
        "FROM webhooks WHERE webhooks.tenant = new.tenant AND webhooks.state = 'enabled' "
        "AND (webhooks.kinds IS NULL OR EXISTS "
        "(SELECT 1 FROM json_each(webhooks.kinds) AS kind WHERE kind.value = 'turn.' || new.state)) "
        "AND (webhooks.agents IS NULL OR EXISTS "
        "(SELECT 1 FROM json_each(webhooks.agents) AS agent WHERE agent.value = new.agent)); END"
    )
    op.execute(
        "CREATE TRIGGER webhooks_record_switch AFTER UPDATE OF chosen_key ON threads "
        "WHEN old.chosen_key IS NOT new.chosen_key AND new.deleted_at IS NULL BEGIN "
        "INSERT INTO webhook_deliveries "
        "(id, tenant, webhook_id, thread_key, kind, created_at, details, state, next_try_at) "
        "SELECT lower(hex(randomblob(16))), new.tenant, webhooks.id, new.key, 'thread.switched', "
        "strftime('%Y-%m-%d %H\\:%M\\:%f', 'now') || '000', json_object('agent', chosen.agent, 'branch', "
        "CASE instr(chosen.id, '/') WHEN 0 THEN 'main' ELSE substr(chosen.id, instr(chosen.id, '/') + 1) END, "
        "'shared_to_seq', coalesce(chosen.shared_to_seq, 0)), "
        "'pending', strftime('%Y-%m-%d %H\\:%M\\:%f', 'now') || '000' "
        "FROM webhooks JOIN threads AS chosen ON chosen.key = coalesce(new.chosen_key, new.key) "
        "WHERE webhooks.tenant = new.tenant AND webhooks.state = 'enabled' "
        "AND (webhooks.kinds IS NULL OR EXISTS "
        "(SELECT 1 FROM json_each(webhooks.kinds) AS kind WHERE kind.value = 'thread.switched')) "
        "AND (webhooks.agents IS NULL OR EXISTS "
        "(SELECT 1 FROM json_each(webhooks.agents) AS agent WHERE agent.value = chosen.agent)); END"
    )


def _create_installation() -> None:
    """Create the table of the installation, and its row with a signing key that no other installation has."""
    installation = op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("signing_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("id = 1", name="single"),
    )
    row = {"id": 1, "signing_key": secrets.token_bytes(32), "created_at": datetime.now(UTC)}
    op.bulk_insert(installation, [row])


def _create_slack_messages() -> None:
    op.create_table(
        "slack_messages",
        sa.Column("key", KEY, sa.Identity(always=False), primary_key=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("claim", sa.Uuid(), nullable=True),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("files", JSON, nullable=True),
        sa.Column("thread_key", KEY, nullable=True),
        sa.Column("turn_id", sa.Uuid(), nullable=True),
        sa.Column("follows", sa.Uuid(), nullable=True),
        sa.Column("answer", JSON, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["thread_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
        sa.CheckConstraint("state in ('received', 'sent', 'waiting', 'answered', 'failed')", name="state"),
        sqlite_autoincrement=True,
    )
    _create_index_where(
        "uq_slack_messages_ts",
        "slack_messages",
        ["tenant", "team_id", "channel_id", "ts"],
        "follows is null",
        unique=True,
    )
    unfinished = "state in ('received', 'sent', 'waiting')"
    _create_index_where("ix_slack_messages_due_at", "slack_messages", ["tenant", "due_at"], unfinished)
    op.create_index("ix_slack_messages_thread_id", "slack_messages", ["tenant", "thread_id", "ts"])
    _create_index_where("ix_slack_messages_turn_id", "slack_messages", ["turn_id"], "turn_id is not null")
    _create_index_where("ix_slack_messages_thread_key", "slack_messages", ["thread_key"], "thread_key is not null")
    op.create_index("ix_slack_messages_user_id", "slack_messages", ["tenant", "user_id"])
    _create_index_where(
        "ix_slack_messages_finished_at", "slack_messages", ["tenant", "finished_at"], "finished_at is not null"
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
    op.execute(
        "CREATE TRIGGER messages_search_update AFTER UPDATE OF content ON messages BEGIN "
        "INSERT INTO messages_search (messages_search, rowid, content) "
        "VALUES ('delete', old.rowid, old.content); "
        "INSERT INTO messages_search (rowid, content) VALUES (new.rowid, new.content); END"
    )
