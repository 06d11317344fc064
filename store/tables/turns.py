"""Turns: the inbox of messages that have no place in the history yet, the journal of steps, who works.

What stays true: in a row of `turns`, what is as it was sent stands first, then what a claim changes, then what an end
does. PostgreSQL's log of an update holds the row from the first byte that changed, if both versions share a page.
"""

from sqlalchemy import BigInteger, Boolean, ColumnElement, Integer, Numeric, SmallInteger, Text, false, text
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

from store.database.column_types import Json, Key, OurId, SmallJson, Time
from store.tables.metadata import index_where, metadata
from store.tables.threads import FILLFACTOR, said_columns

#: A turn in one of these states still has work ahead of it.
UNFINISHED = "state in ('queued', 'running', 'waiting')"
#: A turn that no worker has taken, or that waits for its next attempt.
QUEUED = "state = 'queued'"
#: When a turn that waits is due.
DUE_AT = "coalesce(retry_at, not_before, created_at)"
#: When a turn is only to be ended: it was asked to stop then, or its wait or its deadline is over.
MUST_END_AT = "coalesce(cancel_requested_at, wait_expires_at, deadline)"
#: A turn that ended as most do. They have an index of their own: beside those of other states, each page that they
#: fill would be split in its middle, and written to the log by half.
COMPLETED = "state = 'completed'"
#: A turn that ends those before it.
INTERRUPTING = f"{UNFINISHED} and when_busy in ('interrupt', 'rollback')"

turns = Table(
    "turns",
    metadata,
    #: Arrival order. SQLite's key; PostgreSQL has no index of it alone: turns are found by id, or within a thread.
    Column("arrival_seq", Key, Identity(always=False), primary_key=True),
    Column("id", OurId, nullable=False),
    Column("thread_key", Key, nullable=False),
    Column("created_at", Time, nullable=False),
    #: 0 is ordinary; higher is sooner. It orders threads, never the turns of one thread.
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    #: The user who asks, where that is not the thread's owner; after their erasure, the hash of their id.
    Column("sender", Text),
    #: The turn is due when this is past.
    Column("not_before", Time),
    #: The turn fails instead of going on after this.
    Column("deadline", Time),
    Column("idempotency_key", Text),
    #: SHA-256 of the whole request, attachments' hashes in it.
    Column("request_digest", Text),
    #: The library caller's process that alone may run it; null where any worker may.
    Column("local_process_id", OurId),
    #: The schedule that sent its message; null of most.
    Column("schedule_id", OurId),
    #: The turn that it does again: one that failed, or was cancelled. Itself, where it goes on.
    Column("requeued_from", OurId),
    #: The turn whose tool call began it and waits for its end, that call, and how deep it is nested; null of most. No
    #: foreign key: it goes on, whatever becomes of the other one.
    Column("parent_turn_id", OurId),
    Column("parent_call_id", Text),
    Column("depth", SmallInteger, nullable=False, server_default="0"),
    #: What becomes of it beside the others of its thread; null: it waits for those before it.
    Column("when_busy", Text),
    #: Of a message that steers: the turn that came first in the thread when it was sent.
    Column("steers", OurId),
    #: The turn that ended it by its policy, and whether that took it out of view, too.
    Column("interrupted_by", OurId),
    Column("rolled_back", Boolean, nullable=False, server_default=false()),
    Column("cancel_requested_at", Time),
    #: The name of whoever asked for that first, as they gave it; null where they gave none.
    Column("cancel_requested_by", Text),
    #: How often it was retried later because what it needs was away: the limit of retries counts these.
    Column("retries", Integer, nullable=False, server_default="0"),
    #: In how many crashes of a whole process it stood.
    Column("crashes", Integer, nullable=False, server_default="0"),
    #: The worker that was counted last in `crashes`: it undoes that if it was not dead after all.
    Column("crashed_worker", OurId),
    #: How often a run of it broke off without its process dying: it was handed over, or came to no end.
    Column("interruptions", Integer, nullable=False, server_default="0"),
    # From here on, a claim changes the row.
    #: How often it was claimed.
    Column("attempt", Integer, nullable=False, server_default="0"),
    #: When a wake-up was published last since its last claim, or when a sweep found that others must end before it;
    #: null where none was: also of one behind a turn that is notified, whose wake-up serves their thread.
    Column("notified_at", Time),
    #: A head that waits for its model to come back blocks its thread until then.
    Column("retry_at", Time),
    #: When what it needs was found away first: how long it is retried counts from then.
    Column("failing_since", Time),
    #: The breaker of its model, where that was open when it was queued again: closing it makes the turn due.
    Column("waits_for", Text),
    #: When its wait for a decision is over, of a turn that waits for one: no later than its deadline.
    Column("wait_expires_at", Time),
    #: The window, frozen at the first claim: the newest seq that the model sees, its summary, its context. No foreign
    #: key: each claim would lock the summary's row to check what it has just read out of the thread's.
    Column("window_to_seq", BigInteger),
    Column("window_summary_id", OurId),
    Column("window_context_version", Integer),
    #: The fencing tokens of its first and of its newest claim: its place among the events of its thread.
    Column("first_fencing_token", BigInteger),
    Column("fencing_token", BigInteger),
    Column("started_at", Time),
    #: Its newest claim.
    Column("attempt_started_at", Time),
    Column("agent_version", Text),
    Column("state", Text, nullable=False),
    #: The turn that answers its message, too.
    Column("merged_into", OurId),
    Column("finished_at", Time),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("error_retryable", Boolean),
    Column("error_fault", Text),
    #: What was left out of the window because the model takes no more; null of most.
    Column("omitted", Json),
    Column("usage", SmallJson),
    #: In US dollars.
    Column("cost", Numeric(18, 9, asdecimal=False)),
    UniqueConstraint("id"),
    ForeignKeyConstraint(["thread_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
    CheckConstraint(
        "state in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'merged')", name="state"
    ),
    CheckConstraint("when_busy in ('reject', 'interrupt', 'rollback', 'merge', 'steer')", name="when_busy"),
    # The turns in a state that ended last, or all that run or wait, in the order of arrival. SQLite's holds all turns.
    Index(
        "ix_turns_state_tenant",
        *("state", "tenant", "finished_at", "arrival_seq"),
        postgresql_where=text("state <> 'completed'"),
    ),
    # Of turns that ended in one moment there are few: what reads them in the order of arrival sorts those.
    index_where("ix_turns_finished_at", "finished_at", where="finished_at is not null"),
    # For the sweep: those that were never notified by when they are due, the others by when they were.
    index_where("ix_turns_queued", "notified_at", text(f"({DUE_AT})"), where=QUEUED),
    index_where("ix_turns_must_end", text(f"({MUST_END_AT})"), where=f"{UNFINISHED} and {MUST_END_AT} is not null"),
    index_where(
        "uq_turns_tenant_idempotency_key", "tenant", "idempotency_key", where="idempotency_key is not null", unique=True
    ),
    # Few turns are in it: those that others wait for.
    index_where("ix_turns_parent_turn_id", "parent_turn_id", where="parent_turn_id is not null"),
    # Those of a thread by which others are to end, and the one that bears no other: of two at once, one is refused.
    index_where("ix_turns_interrupting", "thread_key", "arrival_seq", where=INTERRUPTING),
    index_where("uq_turns_rejecting", "thread_key", where=f"{UNFINISHED} and when_busy = 'reject'", unique=True),
    # Few turns are in these: the messages that a turn answers beside its own, and what is out of view.
    index_where("ix_turns_steers", "steers", where=f"{QUEUED} and steers is not null"),
    index_where("ix_turns_merged_into", "merged_into", where="merged_into is not null"),
    index_where("ix_turns_rolled_back", "thread_key", "arrival_seq", where="rolled_back"),
    # Few turns are in it: what a user said in threads of others.
    index_where("ix_turns_sender", "tenant", "sender", "arrival_seq", where="sender is not null"),
    # Few turns are in it, too: the runs of one schedule.
    index_where("ix_turns_schedule_id", "schedule_id", "arrival_seq", where="schedule_id is not null"),
    postgresql_with={"fillfactor": FILLFACTOR},
    sqlite_autoincrement=True,
)

# The turns of one thread by their arrival; of those that are not over, the head comes first: the turn that has begun,
# else the oldest. PostgreSQL has both in one index: a claim writes to each that there is.
Index(
    "ix_turns_of_thread",
    *(turns.c.thread_key, text(f"({UNFINISHED})"), text("(attempt = 0)"), turns.c.arrival_seq),
    _table=turns,
).ddl_if(dialect="postgresql")
Index("ix_turns_thread_key", turns.c.thread_key, turns.c.arrival_seq).ddl_if(dialect="sqlite")
index_where(
    "ix_turns_unfinished",
    *("thread_key", text("(attempt = 0)"), "arrival_seq"),
    where=f"({UNFINISHED}) is true",
    table=turns,
).ddl_if(dialect="sqlite")
Index("ix_turns_completed", turns.c.tenant, turns.c.finished_at, postgresql_where=text(COMPLETED)).ddl_if(
    dialect="postgresql"
)

inbox_messages = Table(
    "inbox_messages",
    metadata,
    Column("turn_id", OurId, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    *said_columns(),
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
    Column("fencing_token", BigInteger, nullable=False),
    Column("request_digest", Text, nullable=False),
    Column("result", Json),
    Column("usage", SmallJson),
    Column("cost", Numeric(18, 9, asdecimal=False)),
    #: Of a call of an agent that another one called: the index of that call, and the agent's name.
    Column("parent", Integer),
    Column("agent", Text),
    #: When the call began that came to this state.
    Column("started_at", Time, nullable=False),
    Column("finished_at", Time),
    CheckConstraint("kind in ('model', 'tool', 'input')", name="kind"),
    CheckConstraint("state in ('waiting', 'started', 'finished', 'failed', 'unknown')", name="state"),
)

pending_calls = Table(
    "pending_calls",
    metadata,
    Column("turn_id", OurId, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    #: The model's id of the call where that is fit to be an address and new in its turn.
    Column("call_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    #: The step of the journal that waits for it.
    Column("step_index", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    #: The tool's name.
    Column("name", Text, nullable=False),
    #: The JSON text that the model wrote, to the byte: what is shown, and what runs.
    Column("arguments", Text, nullable=False),
    #: SHA-256 of the name and the arguments.
    Column("arguments_digest", Text, nullable=False),
    Column("question", Text),
    Column("choices", Json),
    #: The JSON schema of an answer or a result.
    Column("schema", Json),
    Column("requested_at", Time, nullable=False),
    Column("expires_at", Time, nullable=False),
    Column("decision", Text),
    #: The name of whoever decided, as they gave it.
    Column("decided_by", Text),
    Column("decided_at", Time),
    #: What was decided, as `{"value": …}`: an answer, a result, or the text of edited arguments.
    Column("value", Json),
    Column("reason", Text),
    CheckConstraint("kind in ('approval', 'question', 'client_tool', 'child')", name="kind"),
    CheckConstraint("decision in ('approve', 'deny', 'edit', 'answer', 'result', 'closed')", name="decision"),
    CheckConstraint("(decision is null) = (decided_at is null)", name="decided"),
    # What a tenant's people have to decide, in the order in which it was asked.
    index_where("ix_pending_calls_open", "tenant", "requested_at", "turn_id", "call_id", where="decision is null"),
)

turn_attempts = Table(
    "turn_attempts",
    metadata,
    Column("turn_id", OurId, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    #: The turn's `attempt` then. Attempts that were put off one after the other are one row, under the last number.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("worker_id", OurId),
    Column("started_at", Time),
    #: Of an attempt whose worker died: when that was noticed.
    Column("ended_at", Time, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("error_fault", Text),
    #: When the turn was to be tried again; null where that was at once.
    Column("next_try_at", Time),
    CheckConstraint(
        "outcome in ('retried', 'put_off', 'interrupted', 'crashed', 'waited', 'failed', 'cancelled')", name="outcome"
    ),
)

workers = Table(
    "workers",
    metadata,
    Column("id", OurId, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    #: Agent name → version, as this process serves them.
    Column("agents", Json, nullable=False),
    #: The queues of the broker that it consumes; none of a library process.
    Column("queues", Json, nullable=False, server_default="[]"),
    #: Files that it prepares at once; 0 of one that prepares none.
    Column("file_places", Integer, nullable=False, server_default="0"),
    Column("started_at", Time, nullable=False),
    #: Its leases expire then; every heartbeat postpones it.
    Column("lease_expires_at", Time, nullable=False),
    #: Its newest heartbeat.
    Column("beat_at", Time),
    #: It was asked to claim nothing more, and to end after its turns; its next heartbeat tells it.
    Column("drain_requested_at", Time),
    Index("ix_workers_lease_expires_at", "lease_expires_at"),
)

agents = Table(
    "agents",
    metadata,
    #: Every agent that a worker ever registered: a producer may ask for these.
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    #: The policy of messages to it that name none; null takes the installation's.
    Column("when_busy", Text),
    Column("registered_at", Time, nullable=False),
)


def is_unfinished(name: str) -> ColumnElement[bool]:
    """The predicate of the partial indexes, word for word, so that the planner sees that it fits."""
    return text(f"{name}.{UNFINISHED}")  # type: ignore[return-value]


def is_unfinished_in_thread(name: str = "turns") -> ColumnElement[bool]:
    """The same of turns that are looked for in a thread: in these words, no index but that of its turns fits.

    Where few turns are unfinished, that of their states would seem to cost as little; a plan that is kept would read
    all of them when they are many.
    """
    return text(f"({name}.{UNFINISHED}) is true")  # type: ignore[return-value]


unfinished = is_unfinished("turns")
queued: ColumnElement[bool] = text(f"turns.{QUEUED}")  # type: ignore[assignment]
