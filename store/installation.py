"""The installation: what belongs to all of its processes and to no tenant.

What stays true: its one row is made with the schema and never changed, so that a process may keep what it read.
"""

import secrets
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from store.database.sqlite import read_only
from store.tables.access import installation

#: The number of the only row.
ID = 1
#: Bytes of the signing key.
KEY_BYTES = 32


def create_installation(connection: Connection) -> None:
    """Create the row, in a schema that is new."""
    row = {"id": ID, "signing_key": secrets.token_bytes(KEY_BYTES), "created_at": datetime.now(UTC)}
    connection.execute(insert(installation).values(row))


@read_only
def read_signing_key(connection: Connection) -> bytes:
    """Read the key with which the processes of the installation sign, each purpose by a key derived from it."""
    query = select(installation.c.signing_key).where(installation.c.id == ID)
    return bytes(connection.execute(query).scalar_one())
