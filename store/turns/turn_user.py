"""The user of a turn, as listings and sums of costs name them.

What stays true: this is the one place that says which columns hold it; the turn's thread is joined.
"""

from sqlalchemy import ColumnElement, func

from store.tables import threads, turns


def turn_user() -> ColumnElement[str]:
    """The user of a turn, else of its thread; null where neither has one."""
    return func.coalesce(turns.c.metadata["user"].as_string(), thread_user())


def thread_user() -> ColumnElement[str]:
    """The user of a thread; null where it has none."""
    user: ColumnElement[str] = threads.c.metadata["user"].as_string()
    return user
