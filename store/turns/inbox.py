"""The inbox: a user's message is stored with the turn that it asks for, in one transaction.

What stays true: accepting takes no lock that a worker needs, so a caller's long transaction holds
up nobody; and no refusal is found by breaking a constraint, so the caller's transaction lives on. It is one call
of a function in PostgreSQL, and plain statements elsewhere: both do the same.
"""

from sqlalchemy import Connection, exists, select

from store.database.engine import Database
from store.database.function_calls import call_within, has_functions
from store.files.attachments import insert_attachments
from store.files.blob_rows import check_stored
from store.lineage import read_lineage
from store.tables import inbox_messages, messages, turns
from store.turns import send_statements
from store.turns.send_function import call_of, read_outcome
from store.turns.send_request import UNLIMITED, AcceptedTurn, SendLimits, SendRequest


def accept(
    connection: Connection, request: SendRequest, limits: SendLimits = UNLIMITED, *, mark_notified: bool = True
) -> AcceptedTurn:
    """Store a message with its turn, or find the turn that the same request led to before.

    `mark_notified` says that the caller commits at once, and then notifies a worker if the turn needs it: the sweep
    waits a while before it does so itself.

    Raises `UnknownAgent`, `IdempotencyConflict`, `LimitReached`, `FileNotStored`, `FileRejected`,
    `InvalidInput` and `DatabaseUnavailable`, and leaves the caller's transaction usable.
    """
    if request.attachments:
        check_stored(connection, request.tenant, request.attachments, max_bytes=limits.message_max_bytes)
    if has_functions(connection):
        outcome = call_within(connection, call_of(request, limits, mark_notified=mark_notified))
        accepted_turn = read_outcome(outcome, request, limits)
    else:
        accepted_turn = send_statements.accept(connection, request, limits, mark_notified=mark_notified)
    if request.message is not None and request.attachments and accepted_turn.thread_key is not None:
        insert_attachments(connection, accepted_turn.thread_key, request.tenant, [request.message])
    return accepted_turn


def accept_alone(database: Database, request: SendRequest, limits: SendLimits = UNLIMITED) -> AcceptedTurn:
    """As `accept`, in a transaction of its own: in one round trip, where it has functions and no attachments."""
    runner = database.acting_for(request.tenant)
    if database.has_functions and not request.attachments:
        return read_outcome(runner.call(call_of(request, limits, mark_notified=True)), request, limits)
    return runner.run(accept, request, limits)


async def accept_alone_async(database: Database, request: SendRequest, limits: SendLimits = UNLIMITED) -> AcceptedTurn:
    """As `accept_alone`, on the event loop."""
    runner = database.acting_for(request.tenant)
    if database.has_functions and not request.attachments:
        outcome = await runner.call_async(call_of(request, limits, mark_notified=True))
        return read_outcome(outcome, request, limits)
    return await runner.run_async(accept, request, limits)


def has_message(connection: Connection, thread_key: int, message_id: str, *, except_turn_id: str) -> bool:
    """Whether the history has a message of this id, or the inbox for a turn other than `except_turn_id`."""
    lineage = read_lineage(connection, thread_key)
    in_history = exists().where(lineage.holds(), messages.c.id == message_id)
    in_inbox = exists().where(
        turns.c.id == inbox_messages.c.turn_id,
        turns.c.thread_key == thread_key,
        turns.c.id != except_turn_id,
        inbox_messages.c.id == message_id,
    )
    return bool(connection.execute(select(in_history | in_inbox)).scalar_one())


def discard(connection: Connection, turn_id: str) -> None:
    """Take a turn's input out of the inbox: its caller keeps the message in another way."""
    connection.execute(inbox_messages.delete().where(inbox_messages.c.turn_id == turn_id))
