"""The user of a turn, as listings and sums of costs name them.

What stays true: this is the one place that says which columns hold it; the turn's thread is joined.
"""

from sqlalchemy import ColumnElement

from store.tables import threads


def turn_user() -> ColumnElement[str]:
    """The user of a turn; null where there is none."""
    user: ColumnElement[str] = threads.c.metadata["user"].as_string()
    return user
