"""The threads of a user in which something happens, for those who follow all of them at once.

What stays true: a thread that is not listed had nothing happen since the moment that was asked for, as far as
transactions had committed by then; of one that is, the oldest turn that may have to be shown is told.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, or_, select

from conversation.branch_address import split_address
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import convert_row
from store.tables import threads, turns
from store.tables.turns import is_unfinished_in_thread, unfinished
from store.threads.branch_rows import is_chosen


@dataclass(frozen=True, slots=True)
class ActiveThread:
    """A thread in which something happened lately, or goes on."""

    id: str
    #: The token of its newest claim.
    fencing_token: int
    #: Turns that wait or run.
    unfinished: int
    #: The token of the first claim of the oldest turn that goes on; None where nothing runs.
    open_fencing_token: int | None
    #: As that, of the oldest turn that goes on or has ended since the moment.
    first_fencing_token: int | None


@dataclass(frozen=True, slots=True)
class ActiveThreads:
    """The active threads of a user, at a moment of the database."""

    moment: datetime
    threads: tuple[ActiveThread, ...]


@read_only
def list_user_threads(
    connection: Connection, tenant: str, owner: str, *, since: datetime | None, margin: timedelta, limit: int
) -> ActiveThreads:
    """List the threads that were in use since a moment less the margin, or since the margin; the newest first."""
    now: datetime = connection.execute(select(clock())).scalar_one()
    active_since = (since or now) - margin
    count = select(func.count()).where(turns.c.thread_key == threads.c.key, is_unfinished_in_thread())
    unfinished_count = count.correlate(threads).scalar_subquery()
    statement = (
        select(
            threads.c.id,
            threads.c.fencing_token,
            unfinished_count.label("unfinished"),
            _find_fence(unfinished).label("open_fencing_token"),
            _find_fence(or_(unfinished, turns.c.finished_at >= active_since)).label("first_fencing_token"),
        )
        .where(threads.c.tenant == tenant, threads.c.owner == owner, is_chosen())
        .where(or_(threads.c.updated_at >= active_since, unfinished_count > 0))
        .order_by(threads.c.updated_at.desc(), threads.c.key)
        .limit(limit)
    )
    rows = connection.execute(statement)
    return ActiveThreads(now, tuple(convert_row(row, ActiveThread, id=split_address(row.id)[0]) for row in rows))


def _find_fence(is_wanted: ColumnElement[bool]) -> ColumnElement[int]:
    """The token of the first claim of a thread's oldest turn of some."""
    statement = select(func.min(turns.c.first_fencing_token)).where(turns.c.thread_key == threads.c.key, is_wanted)
    return statement.correlate(threads).scalar_subquery()
