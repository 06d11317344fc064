"""The runs of schedules, and the audit of what retention, erasure and repair did."""

from sqlalchemy import Column, Identity, Index, Table, Text

from store.database.column_types import Json, Key, Time
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
