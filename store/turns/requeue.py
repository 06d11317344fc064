"""Requeueing of turns that ended without an answer.

What stays true: no message is repeated needlessly, and no message of the history moves.
A turn of which nothing but its question stands there, as the newest thing of its thread, goes on
where it broke off, from its journal. In every other case all that it was to answer is asked anew, as one new turn
at the end: its question, and those that were merged into it. A turn that waits for an agent can be given to another
one, which goes on with its journal.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, insert, literal, or_, select, update

from conversation.errors import TurnNotFound, TurnNotRequeueable, UnknownAgent
from conversation.ids import new_id
from conversation.turn import TurnState
from conversation.validation import check_id
from store import slack_messages
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history.message_rows import SHARED_COLUMNS
from store.history.visibility import cutoff_of
from store.tables import agents, attachments, inbox_messages, messages, threads, turns
from store.turns import attempts
from store.turns.attempts import AttemptOutcome
from store.turns.next_turn import is_alive
from store.turns.records import is_turn, turn_not_found

#: The final states after which a turn may be requeued.
REQUEUEABLE_STATES = (TurnState.FAILED, TurnState.CANCELLED)
#: Columns that are empty again in a turn that goes on: its times, its end, and who was to run it.
RESET_COLUMNS = (
    *("not_before", "retry_at", "failing_since", "waits_for", "wait_expires_at", "deadline"),
    *("cancel_requested_at", "cancel_requested_by", "when_busy", "steers", "interrupted_by"),
    *("finished_at", "usage", "cost"),
    *("error_kind", "error_message", "error_retryable", "error_fault", "local_process_id", "crashed_worker", "omitted"),
)


@dataclass(frozen=True, slots=True)
class RequeueOutcome:
    """The outcome of requeueing a turn: the turn to wait for."""

    turn_id: str
    tenant: str
    #: The id of its row: of its thread, or of a branch of it.
    address: str
    #: False where the old turn itself goes on.
    is_new: bool


def requeue(
    connection: Connection,
    turn_id: str,
    *,
    new_turn_id: str,
    new_message_id: str,
    agent: str | None = None,
    tenant: str | None = None,
) -> RequeueOutcome:
    """Queue a turn again that failed or was cancelled, of this tenant where one is named.

    The ids are used where a new turn is needed.

    With an agent, that one answers; a turn that waits in the queue is given to it as well. Running it
    twice changes nothing. Raises `TurnNotFound`, `TurnNotRequeueable` and `UnknownAgent`.
    """
    turn, thread = lock_turn(connection, turn_id, tenant)
    if agent is not None:
        check_agent(connection, agent)
    is_new_turn = (turns.c.thread_key == turn.thread_key) & (turns.c.id == new_turn_id)
    new_turn = connection.execute(select(turns.c.id).where(is_new_turn)).first()
    if new_turn is not None:
        return RequeueOutcome(new_turn_id, turn.tenant, thread.id, is_new=True)
    if agent is not None and _is_waiting(connection, turn, thread):
        _give_to(connection, turn, agent)
        return RequeueOutcome(turn_id, turn.tenant, thread.id, is_new=False)
    if turn.state == TurnState.QUEUED and turn.requeued_from == turn.id:
        return RequeueOutcome(turn_id, turn.tenant, thread.id, is_new=False)
    if TurnState(turn.state) not in REQUEUEABLE_STATES:
        raise TurnNotRequeueable(
            f"turn_id: {turn_id} is {turn.state}; only one that failed or was cancelled is queued again"
        )
    if _can_resume(connection, turn, thread):
        _resume(connection, turn, agent or turn.agent)
        slack_messages.reopen(connection, turn.tenant, turn_id)
        return RequeueOutcome(turn_id, turn.tenant, thread.id, is_new=False)
    _queue_new_turn(connection, turn, agent or turn.agent, new_turn_id, new_message_id)
    slack_messages.follow(connection, turn.tenant, turn_id, new_turn_id)
    return RequeueOutcome(new_turn_id, turn.tenant, thread.id, is_new=True)


def lock_turn(connection: Connection, turn_id: str, tenant: str | None = None) -> tuple[AnyRow, AnyRow]:
    """Lock a turn's thread and read both: no claim and no commit can change them meanwhile."""
    of_turn = is_turn(turn_id, tenant)
    thread_key = connection.execute(select(turns.c.thread_key).where(of_turn)).scalar_one_or_none()
    if thread_key is None:
        raise turn_not_found(turn_id, tenant)
    thread = connection.execute(
        select(threads.c.id, threads.c.last_seq, threads.c.history_starts_after, threads.c.lease_owner)
        .where(threads.c.key == thread_key)
        .with_for_update(key_share=True)
    ).one_or_none()
    if thread is None:
        # It was deleted while this waited for the lock.
        raise turn_not_found(turn_id, tenant)
    turn = connection.execute(select(turns).where(of_turn)).one_or_none()
    # A turn that asked nothing of an empty thread has its window end at 0: nothing of that can be past retention.
    if turn is None or 0 < (turn.window_to_seq or 0) <= thread.history_starts_after:
        raise TurnNotFound(f"turn_id: what {turn_id!r} asked is past its retention; send the question anew")
    return turn, thread


def check_agent(connection: Connection, agent: str) -> None:
    """Raise `UnknownAgent` for a name that no worker has ever registered."""
    check_id("agent", agent)
    if connection.execute(select(agents.c.name).where(agents.c.name == agent)).first() is None:
        raise UnknownAgent(f"agent: no worker has ever registered {agent!r}; start a worker that serves it")


def _is_waiting(connection: Connection, turn: AnyRow, thread: AnyRow) -> bool:
    """Whether the turn waits for a worker: it is queued, or the one that ran it is dead."""
    if turn.local_process_id is not None or TurnState(turn.state).is_final:
        return False
    is_held = select(is_alive(literal(thread.lease_owner, threads.c.lease_owner.type)))
    return turn.state == TurnState.QUEUED or not connection.execute(is_held).scalar_one()


def _give_to(connection: Connection, turn: AnyRow, agent: str) -> None:
    # What was away for the other agent says nothing of this one.
    fresh_values = {"retry_at": None, "failing_since": None, "waits_for": None, "retries": 0}
    values = {"agent": agent, "notified_at": clock(), **fresh_values}
    connection.execute(update(turns).where(turns.c.id == turn.id).values(values))


def _can_resume(connection: Connection, turn: AnyRow, thread: AnyRow) -> bool:
    """Whether the turn's question is the newest message of its thread, and no younger turn exists."""
    has_begun = turn.window_to_seq is not None
    if has_begun and thread.last_seq != turn.window_to_seq:
        return False
    # Those whose messages it answers with its own asked before it began.
    is_other = turns.c.merged_into.is_distinct_from(turn.id)
    younger_turns = select(turns.c.id).where(
        turns.c.thread_key == turn.thread_key, turns.c.arrival_seq > turn.arrival_seq, is_other
    )
    return connection.execute(younger_turns.limit(1)).first() is None


def _resume(connection: Connection, turn: AnyRow, agent: str) -> None:
    """Queue the old turn itself: its journal stays, so no finished call is repeated; counts begin anew."""
    values = {"state": "queued", "agent": agent, "requeued_from": turn.id, "notified_at": clock()}
    counts = {"retries": 0, "crashes": 0, "interruptions": 0}
    outcome = AttemptOutcome(turn.state)
    connection.execute(attempts.insert_ended(and_(turns.c.id == turn.id, turns.c.attempt > 0), outcome, worker=None))
    fresh_values = dict.fromkeys(RESET_COLUMNS) | counts | values | {"rolled_back": False}
    connection.execute(update(turns).where(turns.c.id == turn.id).values(fresh_values))


def _queue_new_turn(connection: Connection, turn: AnyRow, agent: str, new_turn_id: str, new_message_id: str) -> None:
    connection.execute(
        insert(turns).values(
            id=new_turn_id,
            thread_key=turn.thread_key,
            tenant=turn.tenant,
            state="queued",
            agent=agent,
            priority=turn.priority,
            metadata=turn.metadata,
            sender=turn.sender,
            schedule_id=turn.schedule_id,
            requeued_from=turn.id,
            created_at=clock(),
            notified_at=clock(),
        )
    )
    source, questions = _questions_of(turn)
    rows = connection.execute(select(source.c.id, source.c.has_attachments).where(questions).order_by(_order(source)))
    for index, row in enumerate(rows.all()):
        copy_id = new_message_id if index == 0 else new_id()
        values = [literal(new_turn_id, turns.c.id.type), literal(index), literal(copy_id)]
        names = [name for name in SHARED_COLUMNS if name != "id"]
        copied = select(*values, *(source.c[name] for name in names)).where(questions, source.c.id == row.id)
        connection.execute(inbox_messages.insert().from_select(["turn_id", "index", "id", *names], copied))
        if row.has_attachments:
            _copy_attachments(connection, turn.thread_key, row.id, copy_id)


def _questions_of(turn: AnyRow) -> tuple[Table, ColumnElement[bool]]:
    """The table and the condition of what a turn was to answer: its own messages, and those merged into it."""
    if turn.window_to_seq is None:
        # It never began.
        return inbox_messages, inbox_messages.c.turn_id == turn.id
    merged = select(turns.c.id).where(turns.c.merged_into == turn.id)
    is_own = and_(messages.c.turn_id == turn.id, messages.c.seq <= turn.window_to_seq)
    is_kept = and_(messages.c.thread_key == turn.thread_key, messages.c.seq > cutoff_of(turn.thread_key))
    return messages, and_(is_kept, or_(is_own, messages.c.turn_id.in_(merged)))


def _order(source: Table) -> ColumnElement[int]:
    return source.c["index" if source is inbox_messages else "seq"]


def _copy_attachments(connection: Connection, thread_key: int, message_id: str, new_message_id: str) -> None:
    """Attach the same files to the question's copy: rows only, the blobs are stored."""
    other_columns = [column for column in attachments.c if column.name != "message_id"]
    connection.execute(
        attachments.insert().from_select(
            ["message_id", *(column.name for column in other_columns)],
            select(literal(new_message_id), *other_columns).where(
                attachments.c.thread_key == thread_key, attachments.c.message_id == message_id
            ),
        )
    )
