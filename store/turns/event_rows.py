"""The numbers of a thread's events, out of its rows."""

from collections.abc import Sequence

from sqlalchemy import Connection

from conversation.message import Message


def number_messages(connection: Connection, thread_key: int, messages: Sequence[Message]) -> dict[str, int]:
    """The number of the event that each message was, by its id."""
    return {message.id: message.seq or 0 for message in messages}
