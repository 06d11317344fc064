"""The user of a turn, as records, listings and sums of costs name them.

What stays true: this is the one place that says which columns hold it; the turn's thread is joined.
"""

from sqlalchemy import ColumnElement, func

from store.tables import threads, turns


def turn_user() -> ColumnElement[str]:
    """The user who asked: the turn's sender, else the thread's owner; null where nobody was named."""
    return func.coalesce(turns.c.sender, thread_user())


def thread_user() -> ColumnElement[str]:
    """The user whose a thread is; null where it is nobody's."""
    owner: ColumnElement[str] = threads.c.owner
    return owner
