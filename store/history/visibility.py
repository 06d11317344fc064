"""What a thread's cut hides: messages, turns and summaries that retention has not deleted yet.

What stays true: nobody reads a message at or below its thread's `retention_cut`, nor a summary that
speaks of one, unless a policy keeps summaries; no export has a turn of which nothing is left above it.
Only those who delete or archive them do, and whoever a legal hold keeps them for.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, exists, func, not_, or_, select

from conversation.turn import FINAL_STATES
from store.tables import messages, summaries, threads, turns
from store.tables.retention import retention_cuts


def cut_of(thread_key: int) -> ScalarSelect[Any]:
    """The seq at and below which nobody reads this thread."""
    return select(threads.c.retention_cut).where(threads.c.key == thread_key).scalar_subquery()


def goes_with_the_cut(thread_key: int) -> ColumnElement[bool]:
    """A summary of messages below a cut whose policy keeps none."""
    is_dropped = exists().where(
        retention_cuts.c.thread_key == thread_key, not_(retention_cuts.c.keep_summary)
    )
    return is_dropped & (summaries.c.thread_key == thread_key) & (summaries.c.from_seq <= cut_of(thread_key))


def goes_with_its_messages(
    thread_key: int, to_seq: int | ScalarSelect[Any], *, whole: ColumnElement[bool]
) -> ColumnElement[bool]:
    """A turn that is over and of which nothing is left above `to_seq`; of a thread that goes whole, any."""
    of_thread = (turns.c.thread_key == thread_key) & turns.c.state.in_(sorted(FINAL_STATES))
    has_more = exists().where(
        messages.c.thread_key == thread_key, messages.c.turn_id == turns.c.id, messages.c.seq > to_seq
    )
    older = turns.alias("older")
    ended = older.c.state.in_(sorted(FINAL_STATES)) & (older.c.window_to_seq <= to_seq)
    newest = select(func.max(older.c.position)).where(older.c.thread_key == thread_key, ended)
    # One that never began went with those that arrived before it.
    began = turns.c.position <= newest.scalar_subquery()
    return and_(of_thread, not_(has_more), or_(whole, func.coalesce(began, False)))


def is_hidden_turn(thread_key: int) -> ColumnElement[bool]:
    """A turn that is going to be deleted with what lies below its thread's cut."""
    whole = exists().where(retention_cuts.c.thread_key == thread_key, retention_cuts.c.whole)
    return goes_with_its_messages(thread_key, cut_of(thread_key), whole=whole)
