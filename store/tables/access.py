"""Access to the gateway: API keys, and the key with which an installation signs.

What stays true: no row here can be used to ask for anything: an API key stands as its hash.
"""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.schema import CheckConstraint

from store.database.column_types import Json, Time
from store.tables.metadata import index_where, metadata

api_keys = Table(
    "api_keys",
    metadata,
    #: The part of the key by which its row is found; no secret.
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    #: What the operator calls it.
    Column("name", Text, nullable=False),
    #: Of the whole key, its secret of 256 random bits included.
    Column("secret_sha256", Text, nullable=False),
    #: A list of `read`, `write` and `operate`.
    Column("scopes", Json, nullable=False),
    #: The only user whose threads it may see; null for all of the tenant.
    Column("owner", Text),
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    Column("revoked_at", Time),
    #: When it was given its present secret in the place of another.
    Column("rotated_at", Time),
    #: The secret before, and until when it is good as well.
    Column("previous_sha256", Text),
    Column("previous_expires_at", Time),
    #: To the minute.
    Column("last_used_at", Time),
    CheckConstraint("length(owner) between 1 and 255", name="owner"),
    Index("ix_api_keys_tenant", "tenant", "id"),
    index_where("ix_api_keys_owner", "tenant", "owner", where="owner is not null"),
)

#: One row: what belongs to the installation as a whole.
installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    #: 256 random bits, with which its processes sign what they tell each other and hand out for a while.
    Column("signing_key", LargeBinary, nullable=False),
    Column("created_at", Time, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
