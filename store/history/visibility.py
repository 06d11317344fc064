"""Visibility: messages, turns and summaries that a thread's cutoff hides until retention deletes them.

What stays true: no reader gets a message at or below its thread's `history_starts_after`, nor a summary
of one, unless a policy keeps summaries; no export has a turn of which nothing is left above it. Only
deletion and archiving read them, and an export under a legal hold.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, exists, func, not_, or_, select

from conversation.turn import FINAL_STATES
from store.history.arrival_order import first_turns
from store.tables import messages, summaries, threads, turns
from store.tables.retention import pending_deletions


def cutoff_of(thread_key: int) -> ScalarSelect[Any]:
    """The seq at and below which a thread's messages are hidden."""
    return select(threads.c.history_starts_after).where(threads.c.key == thread_key).scalar_subquery()


def is_summary_of(thread_key: int, summary_id: str | None) -> ColumnElement[bool]:
    """The condition for a summary of this id that is this thread's: an id alone may be another tenant's."""
    return (summaries.c.thread_key == thread_key) & (summaries.c.id == summary_id)


def is_hidden_summary(thread_key: int) -> ColumnElement[bool]:
    """Whether a summary covers messages below a cutoff whose policy keeps no summary."""
    is_dropped = exists().where(pending_deletions.c.thread_key == thread_key, not_(pending_deletions.c.keep_summary))
    return is_dropped & (summaries.c.thread_key == thread_key) & (summaries.c.from_seq <= cutoff_of(thread_key))


def is_deleted_with_messages(
    thread_key: int, to_seq: int | ScalarSelect[Any], *, whole: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether a turn is over and has no message above `to_seq`, or its thread is deleted as a whole."""
    of_thread = (turns.c.thread_key == thread_key) & turns.c.state.in_(sorted(FINAL_STATES))
    has_more = exists().where(
        messages.c.thread_key == thread_key, messages.c.turn_id == turns.c.id, messages.c.seq > to_seq
    )
    older = turns.alias("older")
    has_ended = older.c.state.in_(sorted(FINAL_STATES)) & (older.c.window_to_seq <= to_seq)
    own_turns = select(older.c.arrival_seq).where(older.c.thread_key == thread_key, has_ended)
    newest_ended = select(first_turns(own_turns, older, limit=1, newest=True).c.arrival_seq)
    # A turn that never began is deleted with the turns that arrived before it.
    arrived_before = turns.c.arrival_seq <= newest_ended.scalar_subquery()
    return and_(of_thread, not_(has_more), or_(whole, func.coalesce(arrived_before, False)))


def is_hidden_turn(thread_key: int) -> ColumnElement[bool]:
    """Whether a turn is going to be deleted with the messages below its thread's cutoff."""
    whole = exists().where(pending_deletions.c.thread_key == thread_key, pending_deletions.c.whole)
    return is_deleted_with_messages(thread_key, cutoff_of(thread_key), whole=whole)
