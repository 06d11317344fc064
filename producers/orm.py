"""For backends on SQLAlchemy's ORM: the message commits with the session's rows, and then it rings."""

from typing import Unpack

from sqlalchemy import event
from sqlalchemy.orm import Session

from producers.send import SendOptions, send_message
from producers.turn import Turn


def send_message_in(session: Session, thread_id: str, content: str, **options: Unpack[SendOptions]) -> Turn:
    """As `send_message` on the session's transaction; rings once that has committed."""
    turn = send_message(thread_id, content, connection=session, **options)

    def ring_after_commit(session: Session) -> None:
        # A savepoint's release comes here too: the rows are not committed with it.
        if not session.in_nested_transaction():
            event.remove(session, "after_commit", ring_after_commit)
            turn.ring()

    event.listen(session, "after_commit", ring_after_commit)
    return turn
