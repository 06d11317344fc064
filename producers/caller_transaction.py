"""Messages that are stored in the caller's own transaction.

Imported with the first of them: what follows knows SQLAlchemy's ORM and psycopg, half a second of imports.
"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

from conversation.errors import InvalidInput
from store.database.caller_connection import CallerConnection, borrow_connection
from store.turns import inbox
from store.turns.send_request import AcceptedTurn, SendLimits, SendRequest

AsyncCallerConnection = AsyncConnection | AsyncSession | async_scoped_session[Any]


def accept_on(caller_connection: CallerConnection, request: SendRequest, limits: SendLimits) -> AcceptedTurn:
    """As `inbox.accept`, behind a savepoint of the caller's transaction; whoever commits it may notify."""
    with borrow_connection(caller_connection) as connection:
        return inbox.accept(connection, request, limits, mark_notified=False)


async def accept_on_async(
    caller_connection: AsyncCallerConnection, request: SendRequest, limits: SendLimits
) -> AcceptedTurn:
    """As `accept_on`, on the event loop. Raises `InvalidInput` for what is no connection of asyncio."""
    connection: object = caller_connection
    if isinstance(caller_connection, async_scoped_session):
        connection = caller_connection()
    if not isinstance(connection, AsyncConnection | AsyncSession):
        raise InvalidInput(
            "connection",
            f"is {type(connection).__name__}",
            "pass an AsyncConnection or an AsyncSession, or call send_message",
        )
    return await connection.run_sync(accept_on, request, limits)
