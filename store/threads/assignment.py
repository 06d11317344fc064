"""The agent that a thread is handed over to: it answers what is sent to it without an agent.

What stays true: a turn keeps the agent that it was sent to. A hand-over by an agent is written with the end of its
turn; this is the one by a program.
"""

from sqlalchemy import Connection, update

from conversation.validation import check_id
from store.database.column_types import clock
from store.tables import threads
from store.threads.visible_threads import Viewer, lock_visible_thread


def hand_over(connection: Connection, viewer: Viewer, thread_id: str, agent: str | None) -> str | None:
    """Hand a thread over to an agent; None gives it back to the default one. Returns the agent that had it.

    Raises `ThreadNotFound`.
    """
    if agent is not None:
        check_id("agent", agent)
    row = lock_visible_thread(connection, viewer, thread_id)
    if row.assigned_agent != agent:
        of_row = update(threads).where(threads.c.key == row.key)
        connection.execute(of_row.values(assigned_agent=agent, updated_at=clock()))
    earlier_agent: str | None = row.assigned_agent
    return earlier_agent
