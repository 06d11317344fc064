"""The tables of retention and erasure: policies, deletions under way, archives, and erasures.

What stays true: no row here holds a user's words. Ids that could name a user stand as their SHA-256; they
are in plain text only in a policy for one thread, and in an erasure while it is under way.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Identity, Integer, Table, Text, false, text
from sqlalchemy.schema import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint

from store.database.column_types import Json, Key, OurId, Time
from store.tables.metadata import index_where, metadata
from store.tables.operations import audit
from store.tables.threads import HAS_HISTORY_STEP, HAS_UPDATED_PERIOD, threads

#: The tenant under which parts of archives are addressed in the file store: none of a user's.
ARCHIVES = "threadmill.archives"
#: An erasure that is not finished yet.
UNDER_WAY = "finished_at is null"
#: A part of an archive for whose sake nothing was deleted yet.
NOT_STORED = "state <> 'stored'"
#: Retention has not checked this thread, or not since it changed.
NEEDS_RETENTION_CHECK = "needs_retention_check"
#: A row of the audit that names a file.
NAMES_FILE = "(details ->> 'sha256') is not null"

retention_policies = Table(
    "retention_policies",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    #: Empty: the whole installation, as its settings say.
    Column("tenant", Text, nullable=False),
    #: Empty: whichever agent answers.
    Column("agent", Text, nullable=False),
    #: Empty: all threads.
    Column("thread_id", Text, nullable=False),
    Column("idle_days", Double),
    Column("max_age_days", Double),
    Column("max_messages", Integer),
    Column("keep_last", Integer),
    Column("keep_summary", Boolean),
    Column("archive", Boolean),
    Column("updated_at", Time, nullable=False),
    UniqueConstraint("tenant", "agent", "thread_id"),
    sqlite_autoincrement=True,
)

retention_rescans = Table(
    "retention_rescans",
    metadata,
    #: A policy changed: threads that had nothing more to give may have now. Worked off page by page.
    Column("key", Key, Identity(always=False), primary_key=True),
    #: Whose threads, as in the policy.
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    #: The tenant and id of the last thread that was checked.
    Column("after_tenant", Text, nullable=False, server_default=""),
    Column("after_id", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)

pending_deletions = Table(
    "pending_deletions",
    metadata,
    #: The thread whose messages at or below its cutoff are being deleted.
    Column("thread_key", Key, primary_key=True),
    Column("tenant", Text, nullable=False),
    #: The thread's cutoff before.
    Column("cut_before", BigInteger, nullable=False),
    #: Up to and with this seq, nothing is left.
    Column("deleted_to", BigInteger, nullable=False),
    #: The thread's row goes, too, if nothing came meanwhile.
    Column("whole", Boolean, nullable=False),
    Column("keep_summary", Boolean, nullable=False),
    Column("archive", Boolean, nullable=False),
    #: Which policy asks for it, for the audit.
    Column("policy", Json, nullable=False),
    #: The thread's summary before the cutoff moved: a legal hold restores it.
    Column("summary_id", OurId),
    #: Set where an erasure asked for it: then only that erasure deletes.
    Column("erasure_id", OurId),
    Column("created_at", Time, nullable=False),
    ForeignKeyConstraint(["thread_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
    ForeignKeyConstraint(["thread_key", "summary_id"], ["summaries.thread_key", "summaries.id"]),
    ForeignKeyConstraint(["tenant", "erasure_id"], ["erasures.tenant", "erasures.id"]),
    Index("ix_pending_deletions_tenant_erasure_id", "tenant", "erasure_id"),
)

archives = Table(
    "archives",
    metadata,
    Column("key", Key, Identity(always=False), primary_key=True),
    Column("tenant", Text, nullable=False),
    #: No foreign key: it outlives the thread.
    Column("thread_key", BigInteger, nullable=False),
    Column("thread_sha256", Text, nullable=False),
    #: Of the thread's owner.
    Column("user_sha256", Text),
    Column("from_seq", BigInteger, nullable=False),
    Column("to_seq", BigInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    #: Its address in the file store.
    Column("sha256", Text, nullable=False),
    #: In bytes, compressed.
    Column("size", BigInteger, nullable=False),
    #: `writing` until it was read back and what it holds was deleted; `discarded` if that never happens.
    Column("state", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    CheckConstraint("state in ('writing', 'stored', 'discarded')", name="state"),
    Index("ix_archives_sha256", "sha256"),
    Index("ix_archives_tenant_thread_sha256", "tenant", "thread_sha256"),
    Index("ix_archives_tenant_user_sha256", "tenant", "user_sha256"),
    Index("ix_archives_thread_key", "thread_key"),
    index_where("ix_archives_begun", "created_at", where=NOT_STORED),
    sqlite_autoincrement=True,
)

#: Files that a thread dropped, for as long as their blobs are stored: in their grace, or because
#: another thread has them.
dropped_files = Table(
    "dropped_files",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    #: No foreign key: it outlives the thread.
    Column("thread_key", BigInteger, primary_key=True, autoincrement=False),
    Column("thread_sha256", Text, nullable=False),
    #: Of the thread's owner when it was archived, or at the end of the next deletion.
    Column("user_sha256", Text),
    ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"], ondelete="CASCADE"),
    Index("ix_dropped_files_tenant_thread_sha256", "tenant", "thread_sha256"),
    Index("ix_dropped_files_tenant_user_sha256", "tenant", "user_sha256"),
    Index("ix_dropped_files_thread_key", "thread_key"),
)

erasures = Table(
    "erasures",
    metadata,
    Column("id", OurId, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("subject_sha256", Text, nullable=False),
    #: What was removed so far, written by the transaction that removed it.
    Column("counts", Json, nullable=False),
    Column("requested_at", Time, nullable=False),
    Column("finished_at", Time),
    Column("certificate", Json),
    #: The user's or thread's id in plain text, for the run that resumes it; null once it is finished.
    Column("subject_id", Text),
    #: When its last step was taken.
    Column("last_step_at", Time, nullable=False),
    CheckConstraint("subject in ('user', 'thread', 'tenant')", name="subject"),
    UniqueConstraint("tenant", "id"),
    Index("ix_erasures_tenant_subject_sha256", "tenant", "subject_sha256"),
    index_where("uq_erasures_under_way", "tenant", "subject", "subject_sha256", where=UNDER_WAY, unique=True),
)

erasure_items = Table(
    "erasure_items",
    metadata,
    Column("erasure_id", OurId, ForeignKey("erasures.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", Text, primary_key=True),
    #: Of a thread's id, or of a blob's bytes. A `shared` thread is another user's, and stays.
    Column("sha256", Text, primary_key=True),
    Column("done", Boolean, nullable=False, server_default=false()),
    CheckConstraint("kind in ('thread', 'shared', 'blob')", name="kind"),
)


# There are few of these: an erasure has them name none.
index_where("ix_audit_names_file", "tenant", where=NAMES_FILE, table=audit)


def _index_threads() -> None:
    """Index threads by what makes them due: retention finds these without reading the others."""
    group = ("tenant", text("coalesce(agent, '')"))
    oldest = text("coalesce(retained_from, created_at)")
    indexes = (
        index_where("ix_threads_idle", *group, "updated_period", "key", where=HAS_UPDATED_PERIOD, table=threads),
        index_where("ix_threads_oldest", *group, oldest, "key", where=NEEDS_RETENTION_CHECK, table=threads),
        index_where(
            "ix_threads_fullest",
            *(*group, "history_step", "key"),
            where=f"{NEEDS_RETENTION_CHECK} and {HAS_HISTORY_STEP}",
            table=threads,
        ),
    )
    for index in indexes:
        index.ddl_if(dialect="postgresql")


_index_threads()
