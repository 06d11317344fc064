"""Threads, their messages in the order of `seq`, the context and the summaries that stand before them.

What stays true: no column that an ordinary turn changes is in an index of `threads`, so that PostgreSQL updates
the row in place (HOT). Where rows are found by such a column, the database keeps a coarser one of it, which
changes once in a while: the index finds a few rows too many, and the column itself decides.
"""

from sqlalchemy import JSON, BigInteger, Boolean, Computed, Integer, Numeric, Text, false, text
from sqlalchemy.schema import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Table,
    UniqueConstraint,
)

from conversation.validation import ID_MAX_CHARS
from store.database.column_types import Json, Key, OurId, SmallJson, Time, ten_minutes_of
from store.tables.metadata import index_where, metadata

#: Attempts at one thread's next summary; then it is left to the operator, to whom the doctor reports it.
MAX_SUMMARY_FAILURES = 5
#: A worker may still try to summarize this thread: threads without this are in no index of due ones.
CAN_BE_SUMMARIZED = f"summary_failures < {MAX_SUMMARY_FAILURES}"
#: A thread that fills half of what its model takes.
FILLS_WINDOW = "fills_window"
#: Messages and tokens of a step: columns that count steps change so much less often than what they count. A mark
#: that is lower than a step has all threads read.
UNCOVERED_MESSAGES_STEP, UNCOVERED_TOKENS_STEP, HISTORY_STEP = 16, 1024, 16
#: A thread with so much: those with less are in no index of these columns, so that a new one need not be written there.
HAS_MESSAGES_STEP, HAS_TOKENS_STEP = "uncovered_messages_step > 0", "uncovered_tokens_step > 0"
HAS_HISTORY_STEP = "history_step > 0"
#: Each thread has one, though the column is nullable: else the planner would drop the condition. An index with it
#: serves who asks for it alone: a lookup by the tenant and the id could take any index that begins with the tenant, and
#: a plan that was made on few threads then reads all of a tenant's.
HAS_UPDATED_PERIOD = "updated_period is not null"
#: The share of a page that new rows fill, in percent: the remainder is for their next versions.
FILLFACTOR = 85

threads = Table(
    "threads",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    Column("tenant", Text, nullable=False),
    #: The caller's own id of the thread; of a branch, that of its thread, a slash, and its own id.
    Column("id", Text, nullable=False),
    # Branches and forks: null of a thread that shares nothing.
    #: The thread whose branch it is.
    Column("root_key", Key),
    #: The row with which the last message is stored that it shares, and up to which seq it shares; null and 0 for none.
    Column("parent_key", Key),
    Column("shared_to_seq", BigInteger),
    #: Where each part of the shared history stands, oldest first: [thread_key, to_seq, has system messages].
    Column("lineage", Json),
    #: Why there is this branch: `branch`, `regenerate` or `edit`.
    Column("branch_origin", Text),
    Column("branch_name", Text),
    #: The branch for which the thread's id stands, where that is not the thread's first one.
    Column("chosen_key", Key),
    #: When it was chosen last: a fencing token above all that its events had, and the newest seq of its history.
    Column("chosen_fence", BigInteger),
    Column("chosen_after_seq", BigInteger),
    #: It was deleted, and others share its history: its messages up to what they share are all that is left.
    Column("deleted_at", Time),
    #: The user whose thread it is, by the caller's own id of them; null where nobody was named.
    Column("owner", Text),
    Column("title", Text),
    Column("metadata", Json, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    #: The newest seq in the history. It never falls, so a deleted message's seq stays empty.
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    #: The worker that holds the thread's lease; alive only while its row in `workers` is.
    Column("lease_owner", OurId),
    #: The fencing token: raised by every claim, checked by every write of a worker.
    Column("fencing_token", BigInteger, nullable=False, server_default="0"),
    #: The policy of its messages that name none; null takes the agent's.
    Column("when_busy", Text),
    Column("summary_id", OurId),
    #: What no summary covers yet.
    Column("uncovered_messages", BigInteger, nullable=False, server_default="0"),
    Column("uncovered_tokens", BigInteger, nullable=False, server_default="0"),
    #: The history up to and with this seq is hidden: retention deletes it, or has.
    Column("history_starts_after", BigInteger, nullable=False, server_default="0"),
    #: Nothing of it is deleted, whatever a policy says.
    Column("legal_hold", Boolean, nullable=False, server_default=false()),
    # Summaries: which agent's water marks count, and how the last attempts ended.
    #: The agent of its newest claimed turn; of the turn that it was made for, until one is claimed; else null.
    Column("agent", Text),
    #: The agent that it was handed over to: it answers what is sent without an agent. Null: the installation's default.
    Column("assigned_agent", Text),
    #: The id of the thread in which a turn asked an agent that answers here, the outermost one: what is erased or
    #: deleted of that one is of this one, too. Null of most.
    Column("begun_in", Text),
    #: The ids of that one and of all below it that asked on, down to the one that asked here, each between slashes:
    #: who deletes one of them deletes this one with it, though a thread between them be gone. Null of most.
    Column("ancestors", Text),
    #: Attempts that failed since the last summary.
    Column("summary_failures", Integer, nullable=False, server_default="0"),
    #: No summary begins by itself before this: one is under way, failed, or was undone.
    Column("summary_retry_at", Time),
    #: How often its summary changed: a restored summary is not taken for one that never changed.
    Column("summary_version", Integer, nullable=False, server_default="0"),
    # Behind another of four bytes: between two of eight, it would take as many.
    Column("context_version", Integer, nullable=False, server_default="0"),
    #: Tokens that its model takes, about, where its newest turn had to leave out older messages; null of most.
    Column("window_tokens", BigInteger),
    #: No message above the cutoff is older; null: none is older than the thread.
    Column("retained_from", Time),
    #: Retention found nothing more to delete; a later change of the thread makes it check again.
    Column("retention_checked_at", Time),
    # What indexes hold of columns that each turn changes.
    Column("updated_period", Time, ten_minutes_of("updated_at")),
    Column(
        "uncovered_messages_step",
        BigInteger,
        Computed(f"uncovered_messages / {UNCOVERED_MESSAGES_STEP}", persisted=True),
    ),
    Column(
        "uncovered_tokens_step", BigInteger, Computed(f"uncovered_tokens / {UNCOVERED_TOKENS_STEP}", persisted=True)
    ),
    Column("history_step", BigInteger, Computed(f"(last_seq - history_starts_after) / {HISTORY_STEP}", persisted=True)),
    #: Null of most: their models take all there is.
    Column(FILLS_WINDOW, Boolean, Computed("uncovered_tokens * 2 >= window_tokens", persisted=True)),
    #: Retention has not checked it, or not since it changed.
    Column(
        "needs_retention_check",
        Boolean,
        Computed("retention_checked_at is null or retention_checked_at < updated_at", persisted=True),
    ),
    UniqueConstraint("tenant", "id"),
    # What rows with a tenant of their own point to: of another tenant's thread, the database refuses them.
    UniqueConstraint("key", "tenant"),
    # Only a summary of its own. Threads and summaries point to each other: PostgreSQL adds this one behind both.
    ForeignKeyConstraint(["key", "summary_id"], ["summaries.thread_key", "summaries.id"], use_alter=True),
    CheckConstraint(f"length(owner) between 1 and {ID_MAX_CHARS}", name="owner"),
    # Few threads are in it.
    index_where("ix_threads_begun_in", "tenant", "begun_in", where="begun_in is not null"),
    CheckConstraint("branch_origin in ('branch', 'regenerate', 'edit')", name="branch_origin"),
    # Of its own tenant alone. What others share cannot be deleted.
    ForeignKeyConstraint(["root_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
    ForeignKeyConstraint(["parent_key", "tenant"], ["threads.key", "threads.tenant"]),
    ForeignKeyConstraint(["chosen_key", "tenant"], ["threads.key", "threads.tenant"]),
    index_where("ix_threads_root_key", "root_key", where="root_key is not null"),
    index_where("ix_threads_parent_key", "parent_key", where="parent_key is not null"),
    index_where("ix_threads_chosen_key", "chosen_key", where="chosen_key is not null"),
    # In the order of a listing.
    index_where("ix_threads_owner", "tenant", "owner", "key", where="owner is not null"),
    index_where(
        "ix_threads_agent_uncovered_messages",
        *("agent", "uncovered_messages_step"),
        where=f"{CAN_BE_SUMMARIZED} and {HAS_MESSAGES_STEP}",
    ),
    index_where(
        "ix_threads_agent_uncovered_tokens",
        *("agent", "uncovered_tokens_step"),
        where=f"{CAN_BE_SUMMARIZED} and {HAS_TOKENS_STEP}",
    ),
    index_where("ix_threads_fills_window", "agent", where=FILLS_WINDOW),
    index_where("ix_threads_tenant_updated_period", "tenant", "updated_period", where=HAS_UPDATED_PERIOD),
    postgresql_with={"fillfactor": FILLFACTOR},
    sqlite_autoincrement=True,
)
# For SQLite, SQLAlchemy counts no column up that is in a foreign key: the constraint alone says it.
threads.c.key.foreign_keys.clear()


def said_columns() -> list[Column[object]]:
    """The columns of a message that the inbox and the history share."""
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


messages = Table(
    "messages",
    metadata,
    Column("thread_key", Key, ForeignKey("threads.key", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    *said_columns(),
    #: No foreign key: it tells which messages belong together also after its turn was purged.
    Column("turn_id", OurId),
    Column("tool_calls", Json),
    Column("tool_call_id", Text),
    Column("reasoning", Text),
    #: As text, for its bytes are sent back as they came.
    Column("provider_fields", JSON(none_as_null=True)),
    Column("usage", SmallJson),
    #: A reply's as its provider counted it, else an estimate by length; null where there is neither.
    Column("tokens", Integer),
    Column("state", Text, nullable=False, server_default="complete"),
    #: Out of view: the turn that asked or said it was rolled back. Nobody reads it but exports and deletion.
    Column("rolled_back", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("thread_key", "id"),
    CheckConstraint("role in ('system', 'user', 'assistant', 'tool')", name="role"),
    CheckConstraint("state in ('complete', 'partial', 'truncated')", name="state"),
    Index("ix_messages_turn_id", "turn_id"),
    # System messages stay in every window, however old they are.
    index_where("ix_messages_system", "thread_key", "seq", where="role = 'system'"),
)

thread_context = Table(
    "thread_context",
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
    Column("usage", SmallJson),
    Column("cost", Numeric(18, 9, asdecimal=False)),
    #: Twelve hex digits that change whenever the summarizer's prompt does.
    Column("prompt_version", Text),
    #: The summary in its sections, which the next one builds upon; null where it is text alone.
    Column("sections", Json),
    #: What was carried over, restored and left out.
    Column("report", Json),
    #: The summary that it replaced: a restore goes back to that one.
    Column("previous_id", OurId),
    Column("restored_at", Time),
    Column("created_at", Time, nullable=False),
    # What points to a summary names its thread, too: of another thread's, the database refuses it.
    UniqueConstraint("thread_key", "id"),
    ForeignKeyConstraint(["thread_key", "previous_id"], ["summaries.thread_key", "summaries.id"]),
    # What summaries cost in a time.
    Index("ix_summaries_created_at", "created_at"),
)

#: Full-text search in the words as written, whatever the language. A tsvector holds at most 1 MB:
#: the first 100,000 characters of a message are found, a longer one can still be stored.
Index(
    "ix_messages_search", text("to_tsvector('simple', left(content, 100000))"), postgresql_using="gin", _table=messages
).ddl_if(dialect="postgresql")
