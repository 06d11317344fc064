"""Sources of webhooks that come in: how each is verified, and what of its body is the message.

What stays true: a secret stands here as the operator's keys have encrypted it.
"""

from sqlalchemy import Column, Index, Integer, SmallInteger, Table, Text
from sqlalchemy.schema import CheckConstraint

from store.database.column_types import Json, Time
from store.tables.metadata import metadata

inbound_sources = Table(
    "inbound_sources",
    metadata,
    #: The end of its address, by which it is found; no secret.
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    #: The header of the signature, or of the secret, of the schemes that leave it to the sender.
    Column("header", Text),
    #: What a request may be signed with, the newest last, each with the end of its time.
    Column("secrets", Json, nullable=False),
    #: Which parts of a body are the thread id, the text, the user, the key and the metadata.
    Column("mapping", Json, nullable=False),
    #: The values of which a body has to have one, by pointer, to be taken.
    Column("only", Json, nullable=False),
    #: Null: the installation's default, or the one that the thread was handed over to.
    Column("agent", Text),
    #: What becomes of a message while its thread is busy; null leaves it to the thread.
    Column("when_busy", Text),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("max_bytes", Integer, nullable=False),
    Column("disabled_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    CheckConstraint("scheme in ('github', 'hmac-sha256', 'standard-webhooks', 'stripe', 'token')", name="scheme"),
    Index("ix_inbound_sources_tenant", "tenant", "id"),
)
