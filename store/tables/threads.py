"""The tables. Children refer to a thread by its internal `key`; users see `(tenant, id)`.

What stays true: every foreign key has an index; a key is never used twice; `turn_inputs` holds
what was said but has no place in the history yet, `messages` holds the history in the order of
`seq`. A change here needs a migration beside it: a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from store.database.column_types import Json, Key, OurId, Time
from store.file_tables import attachments, blobs, renditions, uploads
from store.retention_tables import index_tables
from store.schema import metadata

__all__ = [
    "MAX_SUMMARY_FAILURES", "SUMMARIZED", "UNFINISHED",
    "agents", "attachments", "audit", "blobs", "context", "messages", "metadata", "renditions",
    "schedule_runs", "steps", "summaries", "threads", "turn_inputs", "turns", "uploads", "workers",
]  # fmt: skip

#: Attempts at one thread's next summary; then it is left to a person, whom the doctor tells.
MAX_SUMMARY_FAILURES = 5
#: Somebody still tries to summarize this thread: the others are in no index of those that are due.
SUMMARIZED = f"summary_failures < {MAX_SUMMARY_FAILURES}"
#: A turn in one of these states still has work ahead of it.
UNFINISHED = "state in ('queued', 'running', 'waiting')"

threads = Table(
    "threads",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    Column("tenant", Text, nullable=False),
    #: The user's own id of the thread.
    Column("id", Text, nullable=False),
    Column("title", Text),
    Column("metadata", Json, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    #: The newest place in the history. It never falls, so a deleted message's place stays empty.
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    #: The worker that holds the thread's lease; alive only while its row in `workers` is.
    Column("owner", OurId),
    #: The fencing token: raised by every claim, checked by every write of a worker.
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("summary_id", OurId),
    Column("context_version", Integer, nullable=False, server_default="0"),
    #: What no summary covers yet.
    Column("uncovered_messages", BigInteger, nullable=False, server_default="0"),
    Column("uncovered_tokens", BigInteger, nullable=False, server_default="0"),
    #: Nobody reads the history up to and with this seq: retention deletes it, or has.
    Column("retention_cut", BigInteger, nullable=False, server_default="0"),
    #: Nothing of it is deleted, whatever a policy says.
    Column("legal_hold", Boolean, nullable=False, server_default=false()),
    # Summaries: whose water marks count, and what became of the last attempts at one.
    #: The agent of its newest claimed turn; null until there is one.
    Column("agent", Text),
    #: Attempts that failed since the last summary.
    Column("summary_failures", Integer, nullable=False, server_default="0"),
    #: Nobody begins a summary by itself before this: one is under way, failed, or was taken back.
    Column("summary_retry_at", Time),
    #: How often its summary changed: one that came back is not taken for one that stayed.
    Column("summary_version", Integer, nullable=False, server_default="0"),
    *(
        Index(
            f"ix_threads_agent_uncovered_{counted}",
            "agent",
            f"uncovered_{counted}",
            postgresql_where=text(SUMMARIZED),
            sqlite_where=text(SUMMARIZED),
        )
        for counted in ("messages", "tokens")
    ),
    #: Nothing above the cut is older; null: nothing is older than the thread.
    Column("retained_from", Time),
    #: Retention found here nothing more to take; a change of the thread after it makes it look again.
    Column("retention_seen_at", Time),
    UniqueConstraint("tenant", "id"),
    Index("ix_threads_owner", "owner", postgresql_where=text("owner is not null")),
    Index("ix_threads_tenant_updated_at_key", "tenant", "updated_at", "key"),
    sqlite_autoincrement=True,
)

turns = Table(
    "turns",
    metadata,
    #: Arrival order.
    Column("position", Key, Identity(always=False), primary_key=True),
    Column("id", OurId, nullable=False),
    Column("thread_key", Key, ForeignKey("threads.key", ondelete="CASCADE"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("agent_version", Text),
    #: The library caller's process that alone may run it; null where any worker may.
    Column("runner", OurId),
    #: How often it was claimed.
    Column("attempt", Integer, nullable=False, server_default="0"),
    #: How often it was put off because what it needs was away: the limit of retries counts these.
    Column("retries", Integer, nullable=False, server_default="0"),
    #: In how many crashes of a whole process it stood.
    Column("crashes", Integer, nullable=False, server_default="0"),
    #: The worker that was counted last in `crashes`: it takes that back if it was not dead after all.
    Column("crashed_worker", OurId),
    #: The turn that it does again: one that failed, or was cancelled. Itself, where it goes on.
    Column("requeued_from", OurId),
    #: 0 is ordinary; higher is sooner. It orders threads, never the turns of one thread.
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("metadata", Json, nullable=False),
    #: It joins the order when this is past.
    Column("not_before", Time),
    #: A head that waits for its model to come back blocks its thread until then.
    Column("retry_at", Time),
    #: It fails instead of going on after this.
    Column("deadline", Time),
    Column("idempotency_key", Text),
    #: SHA-256 of the whole request, attachments' hashes in it.
    Column("request_digest", Text),
    #: The window, frozen at the first claim: the newest seq that the model sees, its summary, its context.
    Column("window_to_seq", BigInteger),
    Column("window_summary_id", OurId),
    Column("window_context_version", Integer),
    Column("rung_at", Time),
    Column("cancel_requested_at", Time),
    Column("created_at", Time, nullable=False),
    Column("started_at", Time),
    Column("finished_at", Time),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("error_retryable", Boolean),
    Column("error_fault", Text),
    Column("usage", Json),
    #: In US dollars.
    Column("cost", Numeric(18, 9, asdecimal=False)),
    UniqueConstraint("id"),
    CheckConstraint(
        "state in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'superseded')",
        name="state",
    ),
    Index("ix_turns_thread_key", "thread_key"),
    Index("ix_turns_finished_at", "finished_at", "position"),
    Index(
        "ix_turns_unfinished",
        "thread_key",
        "position",
        postgresql_where=text(UNFINISHED),
        sqlite_where=text(UNFINISHED),
    ),
    Index(
        "ix_turns_unfinished_tenant",
        "tenant",
        "state",
        postgresql_where=text(UNFINISHED),
        sqlite_where=text(UNFINISHED),
    ),
    Index(
        "uq_turns_tenant_idempotency_key",
        "tenant",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key is not null"),
        sqlite_where=text("idempotency_key is not null"),
    ),
    sqlite_autoincrement=True,
)


def _said() -> list[Column[object]]:
    """What a message says: the same columns in the inbox and in the history."""
    return [
        Column("id", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("content", Text, nullable=False),
        #: Texts, images and files in their order; null where `content` is all there is.
        Column("parts", Json),
        Column("name", Text),
        Column("metadata", Json, nullable=False),
        Column("source", Json),
        Column("has_attachments", Boolean, nullable=False, server_default=false()),
        Column("created_at", Time, nullable=False),
    ]


turn_inputs = Table(
    "turn_inputs",
    metadata,
    Column("turn_id", OurId, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    *_said(),
)

messages = Table(
    "messages",
    metadata,
    Column("thread_key", Key, ForeignKey("threads.key", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    *_said(),
    #: No foreign key: it tells which messages belong together also after its turn was purged.
    Column("turn_id", OurId),
    Column("tool_calls", Json),
    Column("tool_call_id", Text),
    Column("reasoning", Text),
    Column("usage", Json),
    #: A reply's as its provider counted it, else an estimate by length; null where nobody did either.
    Column("tokens", Integer),
    Column("state", Text, nullable=False, server_default="complete"),
    UniqueConstraint("thread_key", "id"),
    CheckConstraint("role in ('system', 'user', 'assistant', 'tool')", name="role"),
    CheckConstraint("state in ('complete', 'partial')", name="state"),
    Index("ix_messages_turn_id", "turn_id"),
    # System messages stay in every window, however old they are.
    Index(
        "ix_messages_system",
        "thread_key",
        "seq",
        postgresql_where=text("role = 'system'"),
        sqlite_where=text("role = 'system'"),
    ),
)

steps = Table(
    "steps",
    metadata,
    Column("turn_id", OurId, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    #: The fencing token of the worker that wrote it last.
    Column("fence", BigInteger, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("result", Json),
    Column("usage", Json),
    Column("cost", Numeric(18, 9, asdecimal=False)),
    Column("started_at", Time, nullable=False),
    Column("finished_at", Time),
    CheckConstraint("kind in ('model', 'tool')", name="kind"),
    CheckConstraint("state in ('started', 'finished', 'failed', 'unknown')", name="state"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", OurId, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    #: Agent name → version, as this process serves them.
    Column("agents", Json, nullable=False),
    Column("started_at", Time, nullable=False),
    #: Its leases live until then; every heartbeat moves it on.
    Column("until", Time, nullable=False),
    Index("ix_workers_until", "until"),
)

agents = Table(
    "agents",
    metadata,
    #: Every agent that a worker ever registered: a producer may ask for these.
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("registered_at", Time, nullable=False),
)

context = Table(
    "context",
    metadata,
    Column("thread_key", Key, ForeignKey("threads.key", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("updated_at", Time, nullable=False),
)

summaries = Table(
    "summaries",
    metadata,
    Column("id", OurId, primary_key=True),
    Column("thread_key", Key, ForeignKey("threads.key", ondelete="CASCADE"), nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("to_seq", BigInteger, nullable=False),
    #: What the model reads.
    Column("content", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("usage", Json),
    Column("cost", Numeric(18, 9, asdecimal=False)),
    #: Twelve hex digits that change whenever the summarizer is told something else.
    Column("prompt_version", Text),
    #: The summary in its sections, which the next one builds upon; null where it is text alone.
    Column("sections", Json),
    #: What was carried over, put back and left out.
    Column("report", Json),
    #: The summary that it took the place of: a restore goes back to that.
    Column("previous_id", OurId),
    Column("restored_at", Time),
    Column("created_at", Time, nullable=False),
    Index("ix_summaries_thread_key", "thread_key"),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("schedule", Text, primary_key=True),
    #: The time that this run was due: two beats claim it once.
    Column("due_at", Time, primary_key=True),
    Column("started_at", Time, nullable=False),
    Column("finished_at", Time),
    #: Counts, and where the next run goes on; null while it runs, and of a run that failed.
    Column("outcome", Json),
    Column("error", Text),
)

audit = Table(
    "audit",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("thread_id", Text),
    Column("action", Text, nullable=False),
    Column("details", Json, nullable=False),
    Column("created_at", Time, nullable=False),
    Index("ix_audit_tenant_created_at", "tenant", "created_at"),
    Index("ix_audit_tenant_thread_id", "tenant", "thread_id"),
    sqlite_autoincrement=True,
)

#: Full-text search in the words as written, whatever the language. A tsvector holds at most 1 MB:
#: the first 100,000 characters of a message are found, a longer one can still be stored.
Index(
    "ix_messages_search",
    text("to_tsvector('simple', left(content, 100000))"),
    postgresql_using="gin",
    _table=messages,
).ddl_if(dialect="postgresql")

index_tables(threads, audit)
