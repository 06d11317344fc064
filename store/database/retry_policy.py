"""What a database says when it fails, and what is done about it.

What stays true: each fault gets one of four answers, and the answer depends on the fault alone, not on
who asked. Waiting is bounded by the caller's patience, so that nobody is held up who cannot wait; a
value that the database refuses is never taken for a database that is away, or it would be tried for
ever. The table for people is in `docs/reference/databases.md`.
"""

import random
import time
from enum import Enum

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from conversation.errors import DatabaseUnavailable

Fault = DBAPIError | PoolTimeout

#: SQLSTATEs of a transaction that lost a race and may simply run again: serialization, deadlock, and a
#: foreign key whose row was deleted between two statements, as when a thread goes while one sends to it.
RACES = frozenset({"40001", "40P01", "23503"})
#: Writing to a server that was demoted: the connection is thrown away, the next may find the new primary.
READ_ONLY = "25006"
#: SQLSTATEs of a table or column that is not there: nobody migrated this database.
NO_SCHEMA = frozenset({"42P01", "42703"})
#: SQLSTATEs that waiting does not mend: no schema, no right, damaged data or index.
OPERATORS = NO_SCHEMA | {"42501", "XX001", "XX002"}
#: Classes of SQLSTATEs that the driver counts as the server's trouble and that a value brings about:
#: too large for an index, too many columns, a statement too deep.
VALUES = ("54",)

#: How often a transaction runs before its caller's patience is asked for.
MAX_RUNS = 3
#: Seconds before a transaction that lost a race or its connection runs again, at most; then twice that.
SOON_SECONDS = 0.02
#: Seconds between the first two runs of one that waits, at most; doubled up to the most.
WAIT_FIRST_SECONDS, WAIT_MOST_SECONDS = 0.2, 2.0

#: How a caller is told, by SQLSTATE; the driver's own line follows.
TOLD = {
    **dict.fromkeys(RACES, "the database let others go first, again and again"),
    **dict.fromkeys(NO_SCHEMA, "the database does not have the schema of this release"),
    READ_ONLY: "the database is read-only, as a standby is",
    "42501": "the database's user may not do this",
    "53100": "the database's disk is full",
    "53300": "the database has no connection left",
    "55P03": "another transaction held on to a row for too long",
    "57014": "the database took too long",
    "XX001": "the database's files are damaged",
    "XX002": "the database's files are damaged",
}


class Answer(Enum):
    """What is done about a fault."""

    #: The transaction itself was well, and may run again at once: it lost a race, or its connection.
    AGAIN = "again"
    #: The database is busy, full or away: that may pass.
    WAIT = "wait"
    #: Somebody has to put the installation right.
    TELL = "tell"
    #: The database is well and refuses what it was given: the next run would be refused, too.
    RAISE = "raise"


class Attempts:
    """Decides after each failure: run again after a pause, or tell the caller."""

    def __init__(self, patience_seconds: float) -> None:
        self.give_up_at = time.monotonic() + patience_seconds
        self.runs = 0

    def pause_after(self, error: Fault) -> float:
        """Seconds to wait before the next run. Raises what the caller should see instead."""
        self.runs += 1
        answer = answer_to(error)
        if answer is Answer.RAISE:
            raise error
        if answer is Answer.AGAIN and self.runs < MAX_RUNS:
            return _spread(SOON_SECONDS * self.runs)
        if answer is not Answer.TELL and time.monotonic() < self.give_up_at:
            return _spread(min(WAIT_FIRST_SECONDS * 2 ** min(self.runs - 1, 10), WAIT_MOST_SECONDS))
        raise DatabaseUnavailable(reason_of(error)) from error


def answer_to(error: Fault) -> Answer:
    """What is done about this fault."""
    state = sqlstate_of(error) or ""
    if isinstance(error, PoolTimeout):
        return Answer.WAIT
    if state in OPERATORS or _lacks_schema(error):
        return Answer.TELL
    if (
        state in RACES
        or state == READ_ONLY
        or error.connection_invalidated
        or isinstance(error, InterfaceError)
    ):
        return Answer.AGAIN
    if isinstance(error, OperationalError) and not state.startswith(VALUES):
        # A lock or a statement that took too long, no connection, memory or disk left, a SQLite file
        # that somebody else writes to; and every connection that could not be opened.
        return Answer.WAIT
    return Answer.RAISE


def reason_of(error: Fault) -> str:
    """One line for the caller: the driver's first line; it holds no parameters and no password."""
    said = _first_line(error)
    if _lacks_schema(error):
        return f"{TOLD['42P01']}: {said}"
    return f"{TOLD.get(sqlstate_of(error) or '', 'the database did not answer')}: {said}"


def sqlstate_of(error: Fault) -> str | None:
    """PostgreSQL's five characters, if it came to say them."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _lacks_schema(error: Fault) -> bool:
    return sqlstate_of(error) in NO_SCHEMA or _first_line(error).startswith(
        ("no such table", "no such column")
    )


def _first_line(error: Fault) -> str:
    text = str(getattr(error, "orig", None) or error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _spread(seconds: float) -> float:
    """Not all at once: those that met in one fault shall not meet again."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
