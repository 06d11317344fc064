"""The turns of a thread without an answer: those that wait or run, and the newest one if it failed or was cancelled.

What stays true: it is a bounded number of turns and statements, however many turns the thread has.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, or_, select

from conversation.turn import TurnState
from store.history.arrival_order import first_turns
from store.history.row_ids import key_of
from store.tables import turns
from store.tables.turns import unfinished
from store.turns.listing import ListedTurn, listed_turn_of, select_listed
from store.turns.waits import Wait, explain_wait

#: Turns of a thread, at most: the others wait behind them.
TURNS_MAX = 5


@dataclass(frozen=True, slots=True)
class UnansweredTurn:
    """A turn of a thread without an answer, and why it waits."""

    turn: ListedTurn
    wait: Wait | None


def list_unanswered(
    connection: Connection, tenant: str, thread_id: str, *, tenant_max_running: int = 0
) -> list[UnansweredTurn]:
    """The turns of a thread that have not answered, in the order of arrival."""
    of_thread = key_of(tenant, thread_id)
    own_turns = select(turns.c.arrival_seq).where(turns.c.thread_key == of_thread)
    newest = select(first_turns(own_turns, turns, limit=1, newest=True).c.arrival_seq).scalar_subquery()
    is_unanswered = or_(unfinished, turns.c.arrival_seq == newest) & (turns.c.state != TurnState.COMPLETED)
    statement = select_listed().where(turns.c.thread_key == of_thread, is_unanswered)
    rows = connection.execute(statement.order_by(turns.c.arrival_seq).limit(TURNS_MAX)).all()
    return [
        UnansweredTurn(listed_turn_of(row), explain_wait(connection, row, tenant_max_running=tenant_max_running))
        for row in rows
    ]
