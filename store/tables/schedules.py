"""Schedules: the messages that are sent at their times, as rows that a tick of beat looks through.

What stays true: a row says when it is due next, and moves on in the transaction that stores its turn.
"""

from sqlalchemy import Boolean, Column, Identity, Integer, SmallInteger, Table, Text, false, text
from sqlalchemy.schema import CheckConstraint, Index, UniqueConstraint

from store.database.column_types import Json, Key, OurId, Time
from store.tables.metadata import index_where, metadata

#: A schedule whose time may come.
ACTIVE = "state = 'active'"
#: When a schedule is looked at next.
SCHEDULE_DUE_AT = "coalesce(retry_at, next_at)"

schedules = Table(
    "schedules",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    Column("id", OurId, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("name", Text),
    #: The user who asks, and whose the threads are that it makes.
    Column("owner", Text),
    #: It may send to threads of its owner alone: its creator sees no others.
    Column("owner_only", Boolean, nullable=False, server_default=false()),
    Column("cron", Text),
    Column("time_zone", Text, nullable=False),
    Column("at", Time),
    Column("catch_up", Text, nullable=False),
    Column("thread_id", Text),
    Column("thread_rule", Text),
    #: Null: the installation's default, or the one that the thread was handed over to.
    Column("agent", Text),
    #: What becomes of a run while its thread is busy; null leaves it to the thread.
    Column("when_busy", Text),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False),
    #: The time of the next run.
    Column("next_at", Time),
    #: When a run that was refused for now is tried again.
    Column("retry_at", Time),
    #: Runs in a row that were refused.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("last_due_at", Time),
    Column("last_turn_id", OurId),
    Column("last_error", Text),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    UniqueConstraint("id"),
    CheckConstraint("(cron is null) <> (at is null)", name="timing"),
    CheckConstraint("(thread_id is null) <> (thread_rule is null)", name="thread"),
    CheckConstraint("catch_up in ('skip', 'one', 'all')", name="catch_up"),
    CheckConstraint("state in ('active', 'paused', 'ended')", name="state"),
    CheckConstraint("state <> 'active' or next_at is not null", name="next_at"),
    CheckConstraint("length(owner) between 1 and 255", name="owner"),
    index_where("ix_schedules_due", text(f"({SCHEDULE_DUE_AT})"), where=ACTIVE),
    Index("ix_schedules_tenant", "tenant", "key"),
    index_where("ix_schedules_thread_id", "tenant", "thread_id", where="thread_id is not null"),
    index_where("ix_schedules_owner", "tenant", "owner", where="owner is not null"),
    index_where("ix_schedules_ended", "updated_at", where="state = 'ended'"),
    index_where(
        "uq_schedules_name", "tenant", text("(coalesce(owner, ''))"), "name", where="name is not null", unique=True
    ),
    sqlite_autoincrement=True,
)
