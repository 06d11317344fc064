"""Rotation of the operator's keys: what they encrypted is encrypted anew by the first of them.

What stays true: each row is written under its lock, and holds the same secrets as before; what no key can decrypt
stops it, with its id in the error, and leaves all others as they are or encrypted anew.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, Table, select, update

from store.tables import inbound_sources, webhooks
from store.webhooks.sealed_secrets import SealedSecrets, SigningKey

#: The tables with secrets, of which each row's `id` is encrypted with them.
TABLES: tuple[Table, ...] = (webhooks, inbound_sources)


def list_sealed(connection: Connection) -> list[tuple[str, str]]:
    """List the rows with secrets: the name of each one's table, and its id."""
    return list(_iterate(connection))


def _iterate(connection: Connection) -> Iterator[tuple[str, str]]:
    for table in TABLES:
        for row_id in connection.execute(select(table.c.id).order_by(table.c.id)).scalars():
            yield table.name, row_id


def reseal(connection: Connection, table_name: str, row_id: str, sealed_secrets: SealedSecrets) -> None:
    """Encrypt the secrets of a row by the first of the operator's keys. Raises `InvalidSettings`."""
    (table,) = (table for table in TABLES if table.name == table_name)
    query = select(table.c.secrets).where(table.c.id == row_id).with_for_update(key_share=True)
    secrets = connection.execute(query).scalar_one_or_none()
    if secrets is None:
        return
    keys = [SigningKey.from_json(value) for value in secrets]
    texts = [sealed_secrets.unseal(row_id, key.sealed) for key in keys]
    new_keys = [
        SigningKey(sealed_secrets.seal(row_id, text), key.expires_at) for key, text in zip(keys, texts, strict=True)
    ]
    values = {"secrets": [key.to_json() for key in new_keys]}
    connection.execute(update(table).where(table.c.id == row_id).values(values))
