"""The tables of files: attachments of messages, blobs, their renditions, and uploads.

What stays true: `(tenant, sha256)` names the same bytes here and in the file store; what points to a
blob keeps its row.
"""

from sqlalchemy import BigInteger, Column, Integer, Table, Text
from sqlalchemy.schema import CheckConstraint, ForeignKeyConstraint, Index

from store.database.column_types import Json, Key, OurId, Time
from store.tables.metadata import index_where, metadata

blobs = Table(
    "blobs",
    metadata,
    Column("tenant", Text, primary_key=True),
    #: Lower-case hex SHA-256 of the bytes.
    Column("sha256", Text, primary_key=True),
    #: In bytes.
    Column("size", BigInteger, nullable=False),
    #: What the bytes are, sniffed; never what a client declared.
    Column("media_type", Text, nullable=False),
    #: `pending` until its bytes are known to be stored: no message may have it before. `deleting` while
    #: garbage collection takes the bytes and the row away.
    Column("state", Text, nullable=False, server_default="stored"),
    #: The scanner's verdict; null where there was none when the file came. `refused`: it could not scan.
    Column("scan", Text),
    #: The scanner's name for the malware.
    Column("scan_finding", Text),
    #: When it was prepared for models: its text extracted, its pictures scaled; null while that is to do.
    Column("prepared_at", Time),
    #: Its place among the files of its tenant that wait to be prepared: the time at which it was requested, later where
    #: it is large, or one of several; null of one that nobody requested, or that is begun.
    Column("queue_place", Time),
    #: When the process that is at it began; null while none is.
    Column("preparing_since", Time),
    #: No other worker begins to prepare it before then.
    Column("preparing_until", Time),
    #: How often preparing began: a file that kills its reader is given up.
    Column("prepare_attempts", Integer, nullable=False, server_default="0"),
    #: The text that was extracted, whole or its beginning.
    Column("extracted_text", Text),
    #: What the model is told beside the text, in sentences: why there is none, what is not shown, what was guessed.
    Column("extraction_note", Text),
    #: The kinds of content that are in the file and not in its text, and how many of each; null for none.
    Column("left_out", Json),
    Column("created_at", Time, nullable=False),
    Column("unreferenced_since", Time),
    CheckConstraint("state in ('pending', 'stored', 'deleting')", name="state"),
    CheckConstraint("scan in ('pending', 'clean', 'infected', 'refused')", name="scan"),
    Index("ix_blobs_tenant_sha256_size", "tenant", "sha256", "size"),
    # Each tenant's next file is one step away, however many wait; and few are begun at a time.
    index_where("ix_blobs_queued", "tenant", "queue_place", where="queue_place is not null"),
    index_where("ix_blobs_preparing", "tenant", where="preparing_since is not null"),
    index_where("ix_blobs_unprepared", "tenant", "created_at", where="prepared_at is null"),
    index_where("ix_blobs_unscanned", "tenant", "created_at", where="scan is null"),
    index_where("ix_blobs_unreferenced_since", "unreferenced_since", where="unreferenced_since is not null"),
)

#: Renditions: blobs that were made out of another blob, and live as long as it does.
renditions = Table(
    "renditions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    #: Its purpose: `thumbnail` for users, `model` for the model.
    Column("kind", Text, primary_key=True),
    #: The blob that was made.
    Column("rendition_sha256", Text, nullable=False),
    ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"], ondelete="CASCADE"),
    ForeignKeyConstraint(["tenant", "rendition_sha256"], ["blobs.tenant", "blobs.sha256"]),
    CheckConstraint("kind in ('thumbnail', 'model')", name="kind"),
    Index("ix_renditions_tenant_made_sha256", "tenant", "rendition_sha256"),
)

#: Files that a client may put into the store by itself, until they are completed or expire.
uploads = Table(
    "uploads",
    metadata,
    Column("id", OurId, primary_key=True),
    Column("tenant", Text, nullable=False),
    #: The user who puts it: no other user attaches it by its hash. Null where the tenant does.
    Column("owner", Text),
    Column("filename", Text, nullable=False),
    #: As the client declared it: the store's server checks it, and completion again.
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time, nullable=False),
    #: Its blob may be attached from then on.
    Column("completed_at", Time),
    Index("ix_uploads_expires_at", "expires_at"),
    Index("ix_uploads_tenant", "tenant"),
)

attachments = Table(
    "attachments",
    metadata,
    Column("thread_key", Key, primary_key=True),
    #: No foreign key: the message is in the inbox first, then in the history.
    Column("message_id", Text, primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("filename", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    ForeignKeyConstraint(["thread_key", "tenant"], ["threads.key", "threads.tenant"], ondelete="CASCADE"),
    ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"]),
    Index("ix_attachments_tenant_sha256", "tenant", "sha256"),
)
