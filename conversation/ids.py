"""Identifiers: made before the transaction, so that an unknown commit can be run again with the same ones."""

import uuid

import uuid_utils


def new_id() -> str:
    """A UUIDv7 as text: unique everywhere, and in creation order within a process (RFC 9562)."""
    return str(uuid_utils.uuid7())


def is_our_id(value: object) -> bool:
    """Whether a value is an id as `new_id` makes them: others can be refused without asking the database."""
    if not isinstance(value, str):
        return False
    # By Python's own methods: those of a type of somebody else's may fail.
    text = str.__str__(value)
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
