"""The installation: what belongs to all of its processes and to no tenant."""

from sqlalchemy import Connection


def read_signing_key(connection: Connection) -> bytes:
    """Read the key with which the processes of the installation sign, each purpose by a key derived from it."""
    raise NotImplementedError
