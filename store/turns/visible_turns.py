"""Turns as a viewer is shown them: those of the threads that it may see.

What stays true: a turn follows its thread; one that a viewer may not see is not there. Whoever reads or changes a turn
for a viewer has checked that in the same transaction.
"""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, case, func, select

from conversation.events import number_of_end
from conversation.message import Message
from conversation.pending_call import Decision
from conversation.turn import TurnRecord, TurnState
from store.database.sqlite import read_only
from store.tables import threads, turns
from store.tables.turns import is_unfinished_in_thread
from store.threads.visible_threads import Viewer
from store.turns.cancel import CancelOutcome, cancel_answering
from store.turns.children import lock_parents
from store.turns.decisions import DecisionOutcome, decide
from store.turns.records import build_record, is_turn, read_replies, select_records, turn_not_found
from store.turns.requeue import RequeueOutcome, requeue


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn, with what its viewer is told beside its record."""

    record: TurnRecord
    #: The key of its thread.
    thread_key: int
    #: Turns of the thread that come before it; None where it does not wait.
    position: int | None = None
    #: The number before that of its end, should its newest attempt be the last.
    end_of_attempt: int = 0
    #: What it added after the user's message; None while it is not over, or where that was not asked for.
    messages: tuple[Message, ...] | None = None


@read_only
def read_turn(connection: Connection, viewer: Viewer, turn_id: str, *, with_messages: bool = False) -> TurnView:
    """Read a turn; with its messages, once it is over. Raises `TurnNotFound`."""
    ahead = turns.alias("ahead")
    is_ahead = (ahead.c.thread_key == turns.c.thread_key) & (ahead.c.arrival_seq < turns.c.arrival_seq)
    count = select(func.count()).select_from(ahead).where(is_ahead, is_unfinished_in_thread("ahead"))
    position = case((turns.c.state == TurnState.QUEUED, count.correlate(turns).scalar_subquery()), else_=None)
    statement = select_records().add_columns(position.label("position")).where(and_(is_turn(turn_id), viewer.sees))
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise turn_not_found(turn_id)
    record = build_record(row)
    if record.merged_into is not None:
        return _show_answering(record, read_turn(connection, viewer, record.merged_into, with_messages=with_messages))
    has_messages = with_messages and record.state.is_final
    messages = read_replies(connection, turn_id) if has_messages else None
    end_of_attempt = 0 if row.fencing_token is None else number_of_end(row.fencing_token) - 1
    return TurnView(record, row.thread_key, row.position, end_of_attempt, messages)


def _show_answering(record: TurnRecord, answering: TurnView) -> TurnView:
    """The view of a turn that another one answers: how that goes on, and nothing of what it costs."""
    told = {name: getattr(answering.record, name) for name in ("state", "started_at", "finished_at", "error")}
    return replace(answering, record=replace(record, **told))


def cancel_turn(connection: Connection, viewer: Viewer, turn_id: str, *, by: str) -> tuple[CancelOutcome, TurnView]:
    """Ask a turn to stop, as `cancel_answering`; returns it as it is then, too. Raises `TurnNotFound`."""
    answering = func.coalesce(turns.c.merged_into, turns.c.id)
    # Before its own thread, whose row is locked by the check.
    lock_parents(connection, select(answering).where(is_turn(turn_id, viewer.tenant)))
    _check_visible(connection, viewer, turn_id)
    outcome = cancel_answering(connection, turn_id, by=by, tenant=viewer.tenant)
    return outcome, read_turn(connection, viewer, turn_id)


def decide_call(
    connection: Connection,
    viewer: Viewer,
    turn_id: str,
    call_id: str,
    decision: Decision,
    *,
    by: str,
    digest: str | None = None,
) -> DecisionOutcome:
    """Decide a pending call of a turn, as `decide`. Raises `TurnNotFound` and what `decide` raises."""
    _check_visible(connection, viewer, turn_id)
    return decide(connection, turn_id, call_id, decision, by=by, digest=digest, tenant=viewer.tenant)


def requeue_turn(
    connection: Connection,
    viewer: Viewer,
    turn_id: str,
    *,
    new_turn_id: str,
    new_message_id: str,
    agent: str | None = None,
) -> tuple[RequeueOutcome, TurnView]:
    """As `requeue`; returns the turn to wait for as well."""
    _check_visible(connection, viewer, turn_id)
    ids = {"new_turn_id": new_turn_id, "new_message_id": new_message_id}
    outcome = requeue(connection, turn_id, **ids, agent=agent, tenant=viewer.tenant)
    return outcome, read_turn(connection, viewer, outcome.turn_id)


def _check_visible(connection: Connection, viewer: Viewer, turn_id: str) -> None:
    """Check that the viewer may see a turn, and lock its thread, so that it stays so."""
    statement = select(threads.c.key).join(turns, turns.c.thread_key == threads.c.key)
    statement = statement.where(and_(is_turn(turn_id), viewer.sees)).with_for_update(of=threads, key_share=True)
    if connection.execute(statement).one_or_none() is None:
        raise turn_not_found(turn_id)
