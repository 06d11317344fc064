"""Identifiers: made before the transaction, so that an unknown commit can be run again with the same ones."""

import re

import uuid_utils

#: A UUID as it is written by whoever makes one: other ways to write it name no row.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """A UUIDv7 as text: unique everywhere, and in creation order within a process (RFC 9562)."""
    return str(uuid_utils.uuid7())


def is_our_id(value: object) -> bool:
    """Whether a value is an id as `new_id` makes them: others can be refused without asking the database."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None
