"""The runs of schedules, the audit of what retention, erasure and repair did, and what the gateway answered."""

from sqlalchemy import Boolean, Column, Identity, Index, SmallInteger, Table, Text

from store.database.column_types import Json, Key, OurId, Time
from store.tables.metadata import metadata

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

idempotent_answers = Table(
    "idempotent_answers",
    metadata,
    Column("tenant", Text, primary_key=True),
    #: The hash of whose request it is, its route and its key.
    Column("id", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    #: The run that works at it, and until when nobody else does.
    Column("claim", OurId, nullable=False),
    Column("claimed_until", Time, nullable=False),
    #: The id of what it makes: the same in each run.
    Column("made_id", OurId, nullable=False),
    #: An earlier run broke off.
    Column("is_repeat", Boolean, nullable=False),
    #: Null until it is answered.
    Column("status", SmallInteger),
    Column("headers", Json),
    Column("body", Text),
    Column("expires_at", Time, nullable=False),
    Index("ix_idempotent_answers_expires_at", "expires_at"),
)
