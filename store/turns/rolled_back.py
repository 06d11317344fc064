"""Turns that were rolled back: out of view is what they said, and the model is told which tools they had called.

What stays true: what was said is out of view, and what was done is done: it is told in each later turn, since the model
cannot see it anywhere else. The text is made of rows that no longer change, so that a resumed turn reads the same.
"""

from sqlalchemy import ColumnElement, Connection, or_, select, update

from store.history.message_rows import answers_for
from store.lineage import OPEN_END, Lineage, Part
from store.tables import messages, steps, turns

#: Tool calls that are told, at most: the newest.
CALLS_MAX = 20
#: The words for the outcome of a call, by the state of its step.
_OUTCOMES = {"finished": "it took effect", "failed": "it failed", "unknown": "it may have taken effect"}


def hide_rolled_back(connection: Connection, thread_key: int, turn_id: str) -> None:
    """Take out of view what a turn asked, was told and said, if it was rolled back. Its end was just written."""
    is_rolled_back = turns.c.id == turn_id, turns.c.rolled_back
    if connection.execute(select(turns.c.id).where(*is_rolled_back)).one_or_none() is None:
        return
    of_turn = messages.c.turn_id.in_(select(turns.c.id).where(answers_for(turn_id)))
    connection.execute(update(messages).where(messages.c.thread_key == thread_key, of_turn).values(rolled_back=True))


def has_begun_in(lineage: Lineage) -> ColumnElement[bool]:
    """The condition for turns that had begun and were rolled back, in rows of which a history shows messages."""
    return turns.c.thread_key.in_(lineage.keys) & turns.c.rolled_back & (turns.c.attempt > 0)


def tell_calls(connection: Connection, lineage: Lineage) -> tuple[str, ...]:
    """The system text for the tool calls of a history's turns that were rolled back; none where they made none.

    Of a branch, those that had begun before the end of what it shares are of its history, too.
    """
    of_history = or_(*(_is_before_end(part) for part in lineage.parts))
    statement = (
        select(turns.c.arrival_seq, steps.c["index"], steps.c.name, steps.c.state)
        .join(turns, turns.c.id == steps.c.turn_id)
        .where(of_history, turns.c.rolled_back, steps.c.kind == "tool")
        # Nobody approved it, or it stopped to ask: it did nothing.
        .where(steps.c.state != "waiting")
        .order_by(turns.c.arrival_seq.desc(), steps.c["index"].desc())
        .limit(CALLS_MAX)
    )
    rows = connection.execute(statement).all()
    if not rows:
        return ()
    lines = [f"- {row.name}: {_OUTCOMES.get(row.state, _OUTCOMES['unknown'])}" for row in reversed(rows)]
    told = (
        "The user took back earlier messages of this conversation, which are no longer shown. "
        "Before that, these tools had been called for them, and what they did was not undone:"
    )
    return ("\n".join((told, *lines)),)


def _is_before_end(part: Part) -> ColumnElement[bool]:
    of_row = turns.c.thread_key == part.thread_key
    return of_row if part.to_seq == OPEN_END else of_row & (turns.c.window_to_seq <= part.to_seq)
