"""Turns that wait for a model to come back: once its breaker is closed, they come sooner.

What stays true: they come in the order in which they arrived, so many a second, so that a model that is just back
is not run down again; none comes later than it would have come anyway. Running it twice changes nothing.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, literal, select, update

from store.database.column_types import clock
from store.tables import turns
from store.tables.turns import queued

#: Seconds between two turns that are let go, and until the last of them comes, however many wait.
SPREAD_SECONDS = 0.02
SPREAD_MAX_SECONDS = 60.0
#: Turns of one statement, at most.
BATCH = 10_000


def let_go(connection: Connection, breaker: str) -> int:
    """Let the turns come that wait for this breaker; returns how many, `BATCH` where others may be left."""
    waiting = (
        select(
            turns.c.id,
            func.row_number().over(order_by=turns.c.arrival_seq).label("place"),
            func.count().over().label("number"),
        )
        .where(queued, turns.c.waits_for == breaker, turns.c.retry_at.is_not(None))
        .order_by(turns.c.arrival_seq)
        .limit(BATCH)
        .cte("waiting")
    )
    place, number = (
        select(column).where(waiting.c.id == turns.c.id).scalar_subquery()
        for column in (waiting.c.place, waiting.c.number)
    )
    moment = clock(plus_seconds=place * _smaller(literal(SPREAD_SECONDS), SPREAD_MAX_SECONDS / number))
    statement = (
        update(turns)
        # Again: one that was claimed meanwhile does not wait any more.
        .where(turns.c.id.in_(select(waiting.c.id)), queued, turns.c.retry_at.is_not(None))
        .values(retry_at=_smaller(turns.c.retry_at, moment), waits_for=None)
    )
    # SQLite counts no rows of a statement that begins with a CTE.
    return len(connection.execute(statement.returning(turns.c.id)).all())


def _smaller(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((one < other, one), else_=other)
