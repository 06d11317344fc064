"""Turns whose claim failed on what is stored: claimed without reading it, only to be ended as failed.

What stays true: only stored data ends a turn this way, never a database that is away, busy or not migrated; and
nothing of the thread is lost: its question moves into the history where it can stand there, else it stays in the
inbox, from which a requeued turn takes it.
"""

from sqlalchemy import Connection, case, func, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NoResultFound, SQLAlchemyError, StatementError

from conversation.arguments import INTEGER_MAX
from conversation.errors import DatabaseRefused, OperatorError
from conversation.step import Step
from conversation.turn import Lease, RefusedTurn, TurnError
from store.database.column_types import clock
from store.database.retry_policy import sqlstate_of
from store.database.statements import AnyRow
from store.tables import inbox_messages, threads, turns
from store.turns import journal
from store.turns.claim_request import ClaimRequest, NothingDue, ending_of
from store.turns.claim_statements import SEQ_LAST, may_start, move_inbox_into_history

#: The kind of error of a turn whose claim fails on stored data.
UNREADABLE = "unreadable"
#: Classes of SQLSTATEs that stored values bring about: out of range, of another form, there twice, too large.
DATA_STATE_CLASSES = ("22", "23", "54")
#: What Python raises of a stored value that is none of ours: no JSON, an unknown part, a field that is missing.
VALUE_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
_STARTED_COLUMNS = ("id", "agent", "attempt", "sender", "window_to_seq", "fencing_token", "parent_turn_id")


def error_of(error: Exception) -> TurnError | None:
    """The error of the turn whose claim raised this; None where stored data is not to blame."""
    cause = error.__cause__ if isinstance(error, DatabaseRefused) else error
    if isinstance(cause, OperatorError) or not _is_of_data(cause):
        return None
    # Its text may quote a message.
    name = (sqlstate_of(cause) if isinstance(cause, DBAPIError) else None) or type(cause).__name__
    return TurnError(UNREADABLE, f"what is stored of its thread cannot be read back ({name})")


def _is_of_data(cause: BaseException | None) -> bool:
    if isinstance(cause, DBAPIError):
        state = sqlstate_of(cause)
        return state.startswith(DATA_STATE_CLASSES) if state else isinstance(cause, DataError | IntegrityError)
    if isinstance(cause, SQLAlchemyError):
        # A value that cannot be bound, or a summary that is not there.
        return isinstance(cause, StatementError | NoResultFound)
    return isinstance(cause, VALUE_ERRORS)


def claim_unreadable(
    connection: Connection,
    tenant: str,
    thread_id: str,
    claimant: ClaimRequest,
    error: TurnError,
    *,
    held: Lease | None = None,
    takes_own: bool = False,
) -> RefusedTurn | NothingDue:
    """Claim the turn at which `claim` failed, to be ended with this error, reading as little as can be.

    With `takes_own`, also where the claimant holds the thread already: it was claimed, and could not be read.
    """
    names = ("key", "lease_owner", "fencing_token", "last_seq", "owner")
    of_thread = (threads.c.tenant == tenant) & (threads.c.id == thread_id)
    lock = select(*(threads.c[name] for name in names)).where(of_thread).with_for_update(key_share=True)
    thread = connection.execute(lock).one_or_none()
    if thread is None:
        return NothingDue()
    is_held = held is not None and thread.fencing_token == held.fencing_token
    is_own = is_held or (takes_own and thread.lease_owner == claimant.worker)
    turn = _start(connection, thread, None if is_own else thread.lease_owner, claimant)
    if turn is None:
        if is_own:
            connection.execute(update(threads).where(threads.c.key == thread.key).values(lease_owner=None))
        return NothingDue()
    lease = Lease(thread_key=thread.key, worker=claimant.worker, fencing_token=turn.fencing_token)
    values = {"lease_owner": lease.worker, "fencing_token": lease.fencing_token, "updated_at": clock()}
    connection.execute(update(threads).where(threads.c.key == thread.key).values(values))
    window_to_seq = _move_inbox(connection, thread, turn, lease)
    return RefusedTurn(
        lease=lease,
        id=turn.id,
        tenant=tenant,
        thread_id=thread_id,
        agent=turn.agent,
        attempt=turn.attempt,
        parent_turn_id=turn.parent_turn_id,
        window_to_seq=window_to_seq,
        ending=ending_of(turn.id, turn.agent, _load_journal(connection, turn.id), error),
    )


def _start(connection: Connection, thread: AnyRow, lease_owner: str | None, claimant: ClaimRequest) -> AnyRow | None:
    """Start the head, with counters that never leave their columns' range."""
    token = min(thread.fencing_token + 1, SEQ_LAST)
    statement = (
        update(turns)
        .where(may_start(thread, lease_owner, claimant))
        .values(
            state="running",
            attempt=case((turns.c.attempt < INTEGER_MAX, turns.c.attempt + 1), else_=turns.c.attempt),
            retry_at=None,
            notified_at=None,
            started_at=func.coalesce(turns.c.started_at, clock()),
            attempt_started_at=clock(),
            first_fencing_token=func.coalesce(turns.c.first_fencing_token, token),
            fencing_token=token,
        )
        .returning(*(turns.c[name] for name in _STARTED_COLUMNS))
    )
    return connection.execute(statement).one_or_none()


def _move_inbox(connection: Connection, thread: AnyRow, turn: AnyRow, lease: Lease) -> int:
    """Move the turn's inputs into the history, if they can stand there; returns the seq of its newest input."""
    count = select(func.count()).where(inbox_messages.c.turn_id == turn.id)
    try:
        with connection.begin_nested():
            end = int(thread.last_seq) + connection.execute(count).scalar_one()
            if turn.window_to_seq is not None or end > SEQ_LAST:
                return int(turn.window_to_seq or thread.last_seq)
            of_turn = update(turns).where(turns.c.id == turn.id)
            moved = connection.execute(of_turn.values(window_to_seq=end).returning(*turns.c)).one()
            for write in move_inbox_into_history(thread, moved, lease):
                connection.execute(write)
            return end
    except (DBAPIError, *VALUE_ERRORS):
        return 0


def _load_journal(connection: Connection, turn_id: str) -> dict[int, Step]:
    """The journal of earlier attempts; none where it is what cannot be read."""
    try:
        with connection.begin_nested():
            return journal.load(connection, turn_id)
    except (DataError, *VALUE_ERRORS):
        return {}
