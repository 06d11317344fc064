"""The retry policy of transactions: which action follows which failure of the database.

What stays true: each failure gets one of four actions, and the action depends on the failure alone, not
on the caller. Waiting is bounded by the caller's patience, so that no caller is held up that cannot wait;
a value that the database refuses is never taken for a database that is away, or it would be tried for
ever. The table for operators is in `docs/reference/databases.md`.
"""

import time
from enum import Enum

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from conversation.backoff import add_jitter, backoff_seconds
from conversation.errors import DatabaseRefused, DatabaseUnavailable

DatabaseFailure = DBAPIError | PoolTimeout
#: What SQLAlchemy and the drivers raise of a value that they cannot even send.
UNSENDABLE = (SQLAlchemyError, UnicodeError, OverflowError)

#: SQLSTATEs of a transaction that lost a race and may simply run again: serialization, deadlock, and a
#: foreign key whose row was deleted between two statements, as when a thread is deleted during a send.
RACES = frozenset({"40001", "40P01", "23503"})
#: Writing to a server that was demoted: the connection is thrown away, the next may find the new primary.
READ_ONLY = "25006"
#: SQLSTATEs of a table, column, function or the functions' schema that is not there: this database was not migrated.
NO_SCHEMA = frozenset({"42P01", "42703", "42883", "3F000"})
#: SQLSTATEs that waiting does not mend: no schema, no right, damaged data or index.
OPERATOR_STATES = NO_SCHEMA | {"42501", "XX001", "XX002"}
#: Classes of SQLSTATEs that the driver counts as the server's trouble and that a value brings about:
#: too large for an index, too many columns, a statement too deep.
VALUE_STATE_CLASSES = ("54",)

#: How often a transaction runs before its caller's patience is asked for.
MAX_RUNS = 3
#: Seconds, at most, before a transaction that lost a race or its connection runs again; then twice that.
QUICK_RETRY_SECONDS = 0.02
#: Seconds, at most, between the first two runs of a transaction that waits; doubled up to the maximum.
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.2, 2.0

#: SQLite's word for a statement that came to the end of its time.
INTERRUPTED = "interrupted"

#: The SQLSTATE of a wait for a lock that came to the end of its time.
LOCK_TIMEOUT = "55P03"
#: The reason that a caller reads, by SQLSTATE; the driver's own line follows.
REASONS = {
    **dict.fromkeys(RACES, "the database let others go first, again and again"),
    **dict.fromkeys(NO_SCHEMA, "the database does not have the schema of this release"),
    READ_ONLY: "the database is read-only, as a standby is",
    "42501": "the database's user may not do this",
    "53100": "the database's disk is full",
    "53300": "the database has no connection left",
    LOCK_TIMEOUT: "another transaction held on to a row for too long",
    "57014": "the database took too long",
    "XX001": "the database's files are damaged",
    "XX002": "the database's files are damaged",
}


class FailureAction(Enum):
    """The action that follows a failure."""

    #: The transaction itself was well, and may run again at once: it lost a race, or its connection.
    RETRY_NOW = "retry_now"
    #: The database is busy, full or away: that may pass.
    WAIT = "wait"
    #: The operator has to put the installation right.
    REPORT = "report"
    #: The database is well and refuses what it was given: the next run would be refused, too.
    REFUSE = "refuse"


class Attempts:
    """The runs of one operation: decides after each failure whether to run again or to raise."""

    def __init__(self, patience_seconds: float) -> None:
        self.patience_seconds = patience_seconds
        #: Set by the first failure: until then the caller may have waited for a connection, not for the database.
        self.give_up_at: float | None = None
        self.runs = 0

    def pause_after(self, error: DatabaseFailure) -> float:
        """Seconds to wait before the next run. Raises our error where there is none."""
        self.runs += 1
        if self.give_up_at is None:
            self.give_up_at = time.monotonic() + self.patience_seconds
        action = action_for(error)
        if action is FailureAction.REFUSE:
            raise refusal_of(error) from error
        if action is FailureAction.RETRY_NOW and self.runs < MAX_RUNS:
            return add_jitter(QUICK_RETRY_SECONDS * self.runs)
        if action is not FailureAction.REPORT and time.monotonic() < self.give_up_at:
            return add_jitter(backoff_seconds(self.runs - 1, first=MIN_BACKOFF_SECONDS, maximum=MAX_BACKOFF_SECONDS))
        raise DatabaseUnavailable(reason_of(error)) from error


def action_for(error: DatabaseFailure) -> FailureAction:
    """The action that follows a failure."""
    state = sqlstate_of(error) or ""
    if isinstance(error, PoolTimeout):
        return FailureAction.WAIT
    if state in OPERATOR_STATES or _lacks_schema(error):
        return FailureAction.REPORT
    if state in RACES or state == READ_ONLY or error.connection_invalidated or isinstance(error, InterfaceError):
        return FailureAction.RETRY_NOW
    if isinstance(error, OperationalError) and not state.startswith(VALUE_STATE_CLASSES):
        # A lock or a statement that took too long, no connection, memory or disk left, a SQLite file
        # that another process writes to; and every connection that could not be opened.
        return FailureAction.WAIT
    return FailureAction.REFUSE


def refusal_of(error: Exception) -> DatabaseRefused:
    """Our error for what the database, or its driver, refuses."""
    return DatabaseRefused(f"the database refuses it: {_first_line(error)}")


def reason_of(error: DatabaseFailure) -> str:
    """One line for the caller: the driver's first line; it holds no parameters and no password."""
    driver_line = _first_line(error)
    if _lacks_schema(error):
        return f"{REASONS['42P01']}: {driver_line}"
    if driver_line == INTERRUPTED:
        return REASONS["57014"]
    return f"{REASONS.get(sqlstate_of(error) or '', 'the database did not answer')}: {driver_line}"


def sqlstate_of(error: DatabaseFailure) -> str | None:
    """The SQLSTATE of a failure; None where PostgreSQL did not answer."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def is_of_connection(error: DatabaseFailure) -> bool:
    """Whether it was the connection that failed: nobody knows what was committed."""
    if isinstance(error, PoolTimeout) or error.connection_invalidated:
        return True
    # What the driver refuses to send has no state either, and is another kind of error.
    return isinstance(error, OperationalError | InterfaceError) and sqlstate_of(error) is None


def is_lock_timeout(error: DatabaseUnavailable) -> bool:
    """Whether all that was in the way is a row that another transaction held on to."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and sqlstate_of(cause) == LOCK_TIMEOUT


def _lacks_schema(error: DatabaseFailure) -> bool:
    return sqlstate_of(error) in NO_SCHEMA or _first_line(error).startswith(("no such table", "no such column"))


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
