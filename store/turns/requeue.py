"""Asking again for a turn that ended without an answer.

What stays true: nothing that was said is said twice, and nothing that stands in the history moves.
A turn of which nothing but its question stands there, as the newest thing of its thread, goes on
where it broke off, from its journal. In every other case its question is asked anew, as a new turn
at the end.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, literal, select, update

from conversation.errors import TurnNotFailed, TurnNotFound
from conversation.ids import is_our_id
from conversation.turn import TurnState
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history.message_rows import SAID
from store.history.visibility import cut_of
from store.tables import attachments, messages, threads, turn_inputs, turns

#: The ends after which a turn may be asked for again.
REQUEUED_STATES = (TurnState.FAILED, TurnState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Requeued:
    """The turn to wait for."""

    turn_id: str
    tenant: str
    thread_id: str
    #: False where the old turn itself goes on.
    is_new: bool


def requeue(connection: Connection, turn_id: str, *, new_turn_id: str, new_message_id: str) -> Requeued:
    """Queue a turn again that failed or was cancelled. The ids are used where a new turn is needed.

    Running it twice changes nothing. Raises `TurnNotFound` and `TurnNotFailed`.
    """
    turn, thread = _locked(connection, turn_id)
    again = connection.execute(select(turns.c.id).where(turns.c.id == new_turn_id)).first()
    if again is not None:
        return Requeued(new_turn_id, turn.tenant, thread.id, is_new=True)
    if turn.state == TurnState.QUEUED and turn.requeued_from == turn.id:
        return Requeued(turn_id, turn.tenant, thread.id, is_new=False)
    if TurnState(turn.state) not in REQUEUED_STATES:
        raise TurnNotFailed(
            f"turn_id: {turn_id} is {turn.state}; only one that failed or was cancelled is queued again"
        )
    if _goes_on(connection, turn, thread):
        _revive(connection, turn)
        return Requeued(turn_id, turn.tenant, thread.id, is_new=False)
    _ask_anew(connection, turn, new_turn_id, new_message_id)
    return Requeued(new_turn_id, turn.tenant, thread.id, is_new=True)


def _locked(connection: Connection, turn_id: str) -> tuple[AnyRow, AnyRow]:
    """The turn as it is under its thread's lock: no claim and no commit can change it meanwhile."""
    of_turn = turns.c.id == turn_id
    key = connection.execute(select(turns.c.thread_key).where(of_turn)) if is_our_id(turn_id) else None
    found = key.scalar_one_or_none() if key is not None else None
    if found is None:
        raise TurnNotFound(f"turn_id: no turn {turn_id!r} is stored")
    thread = connection.execute(
        select(threads.c.id, threads.c.last_seq, threads.c.retention_cut)
        .where(threads.c.key == found)
        .with_for_update(key_share=True)
    ).one()
    turn = connection.execute(select(turns).where(of_turn)).one_or_none()
    if turn is None or (turn.window_to_seq is not None and turn.window_to_seq <= thread.retention_cut):
        raise TurnNotFound(f"turn_id: what {turn_id!r} asked is past its retention; send the question anew")
    return turn, thread


def _goes_on(connection: Connection, turn: AnyRow, thread: AnyRow) -> bool:
    """Nothing was said after its question, and nothing younger waits to be."""
    has_begun = turn.window_to_seq is not None
    if has_begun and thread.last_seq != turn.window_to_seq:
        return False
    younger = select(turns.c.id).where(
        turns.c.thread_key == turn.thread_key, turns.c.position > turn.position
    )
    return connection.execute(younger.limit(1)).first() is None


def _revive(connection: Connection, turn: AnyRow) -> None:
    """The journal stays: what finished is not done again. The counts that ended it begin anew."""
    connection.execute(
        update(turns)
        .where(turns.c.id == turn.id)
        .values(
            state="queued",
            requeued_from=turn.id,
            runner=None,
            retries=0,
            crashes=0,
            crashed_worker=None,
            retry_at=None,
            not_before=None,
            deadline=None,
            rung_at=clock(),
            cancel_requested_at=None,
            finished_at=None,
            usage=None,
            cost=None,
            error_kind=None,
            error_message=None,
            error_retryable=None,
            error_fault=None,
        )
    )


def _ask_anew(connection: Connection, turn: AnyRow, new_turn_id: str, new_message_id: str) -> None:
    connection.execute(
        insert(turns).values(
            id=new_turn_id,
            thread_key=turn.thread_key,
            tenant=turn.tenant,
            state="queued",
            agent=turn.agent,
            priority=turn.priority,
            metadata=turn.metadata,
            requeued_from=turn.id,
            created_at=clock(),
            rung_at=clock(),
        )
    )
    # Of a turn that never began, the question is still in the inbox; else it is the history's.
    source = turn_inputs if turn.window_to_seq is None else messages
    of_turn = [source.c.turn_id == turn.id]
    if source is messages:
        of_turn += [messages.c.thread_key == turn.thread_key, messages.c.seq <= turn.window_to_seq]
        of_turn += [messages.c.seq > cut_of(turn.thread_key)]
    question = connection.execute(select(source.c.id, source.c.has_attachments).where(*of_turn)).first()
    if question is None:
        return
    said = [literal(new_message_id), *(source.c[name] for name in SAID if name != "id")]
    names = ["id", *(name for name in SAID if name != "id")]
    connection.execute(
        turn_inputs.insert().from_select(
            ["turn_id", "index", *names],
            select(literal(new_turn_id, turns.c.id.type), literal(0), *said).where(*of_turn),
        )
    )
    if question.has_attachments:
        _hang_on(connection, turn.thread_key, question.id, new_message_id)


def _hang_on(connection: Connection, thread_key: int, message_id: str, new_message_id: str) -> None:
    """The same files for the question asked anew: rows only, the blobs are there."""
    others = [column for column in attachments.c if column.name != "message_id"]
    connection.execute(
        attachments.insert().from_select(
            ["message_id", *(column.name for column in others)],
            select(literal(new_message_id), *others).where(
                attachments.c.thread_key == thread_key, attachments.c.message_id == message_id
            ),
        )
    )
