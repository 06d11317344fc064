"""Identifiers: made before the transaction, so that an unknown commit can be run again with the same ones."""

import uuid_utils


def new_id() -> str:
    """A UUIDv7 as text: unique everywhere, and in creation order within a process (RFC 9562)."""
    return str(uuid_utils.uuid7())
