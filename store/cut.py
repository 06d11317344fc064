"""What a thread's cut hides: messages and summaries that retention has not deleted yet.

What stays true: nobody reads a message at or below its thread's `retention_cut`, nor a summary that
speaks of one, unless a policy keeps summaries; only those who delete or archive them do.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, exists, not_, select

from store.retention_tables import retention_cuts
from store.tables import summaries, threads


def cut_of(thread_key: int) -> ScalarSelect[Any]:
    """The seq at and below which nobody reads this thread."""
    return select(threads.c.retention_cut).where(threads.c.key == thread_key).scalar_subquery()


def goes_with_the_cut(thread_key: int) -> ColumnElement[bool]:
    """A summary of messages below a cut whose policy keeps none."""
    is_dropped = exists().where(
        retention_cuts.c.thread_key == thread_key, not_(retention_cuts.c.keep_summary)
    )
    return is_dropped & (summaries.c.thread_key == thread_key) & (summaries.c.from_seq <= cut_of(thread_key))
