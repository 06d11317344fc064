"""For backends on Django: the message commits with the request's rows, and then workers are notified."""

from typing import Unpack

from conversation.errors import InvalidInput
from conversation.parts import Content
from producers.api import send_message
from producers.send_options import SendKeywords
from producers.turn import Turn


def send_message_in_atomic(
    thread_id: str, content: Content, *, using: str = "default", **options: Unpack[SendKeywords]
) -> Turn:
    """As `send_message`, inside `transaction.atomic()` of the database `using`; notifies after its commit.

    Raises `InvalidInput` outside of `atomic()`: there Django commits after every statement.
    """
    from django.db import connections, transaction

    wrapper = connections[using]
    if not wrapper.in_atomic_block:
        raise InvalidInput("using", f"{using!r} is not in atomic()", "send inside transaction.atomic()")
    wrapper.ensure_connection()
    turn = send_message(thread_id, content, connection=wrapper.connection, **options)
    if turn.needs_notify:
        transaction.on_commit(turn.notify, using=using)
    return turn
