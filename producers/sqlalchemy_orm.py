"""For backends on SQLAlchemy's ORM: the message commits with the session's rows, then workers are notified.

What stays true: a wake-up is published after the commit of the outermost transaction, and only if the part of
it in which the message was sent was not rolled back.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Unpack

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from conversation.parts import Content
from producers.api import send_message, send_message_async
from producers.send_options import SendKeywords
from producers.turn import AsyncTurn, Turn

#: Under this name a session's `info` holds what is to be notified after its commit.
_PENDING = "threadmill_pending_notifies"


def send_message_in(
    session: Session | scoped_session[Any], thread_id: str, content: Content, **options: Unpack[SendKeywords]
) -> Turn:
    """As `send_message` on the session's transaction; notifies once that has committed."""
    plain_session = session() if isinstance(session, scoped_session) else session
    turn = send_message(thread_id, content, connection=plain_session, **options)
    if turn.needs_notify:
        _notify_after_commit(plain_session, turn.notify)
    return turn


async def send_message_in_async(
    session: AsyncSession | async_scoped_session[Any], thread_id: str, content: Content, **options: Unpack[SendKeywords]
) -> AsyncTurn:
    """As `send_message_in`, on the event loop; the commit does not wait for the broker."""
    plain_session = session() if isinstance(session, async_scoped_session) else session
    turn = await send_message_async(thread_id, content, connection=plain_session, **options)
    if turn.needs_notify:
        _notify_after_commit(plain_session.sync_session, turn.notify_soon)
    return turn


@dataclass(slots=True)
class _PendingNotify:
    notify: Callable[[], object]
    #: The transaction and the savepoints that it was sent in: one ends otherwise than by a commit, and
    #: the message is gone.
    transactions: set[SessionTransaction]


def _notify_after_commit(session: Session, notify: Callable[[], object]) -> None:
    pending: list[_PendingNotify] = session.info.setdefault(_PENDING, [])
    # Once a session, for ever: a listener that removed itself would do so while others are called.
    if not event.contains(session, "after_commit", _after_commit):
        event.listen(session, "after_commit", _after_commit)
        event.listen(session, "after_transaction_end", _after_end)
    pending.append(_PendingNotify(notify, set(_enclosing_transactions(session))))


def _enclosing_transactions(session: Session) -> Iterator[SessionTransaction]:
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        if transaction.nested or transaction.parent is None:
            yield transaction
        transaction = transaction.parent


def _after_commit(session: Session) -> None:
    pending: list[_PendingNotify] = session.info[_PENDING]
    savepoint = session.get_nested_transaction()
    if savepoint is not None:
        # Released, not committed: from now on what it holds lives or dies with what is around it.
        for entry in pending:
            entry.transactions.discard(savepoint)
        return
    committed_entries, pending[:] = list(pending), []
    for entry in committed_entries:
        entry.notify()


def _after_end(session: Session, transaction: SessionTransaction) -> None:
    pending: list[_PendingNotify] = session.info[_PENDING]
    pending[:] = [sent for sent in pending if transaction not in sent.transactions]
