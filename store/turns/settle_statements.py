"""Settling in plain statements: on SQLite, where PostgreSQL shall have no functions, and for replies with files.

What stays true: a turn's messages are committed once, by whoever holds the thread's newest token;
after every end the next head is looked for in the same transaction, so that no wake-up is needed for
a message that arrived meanwhile. `store/functions/settle_turn_v1.sql` does the same.
"""

from collections.abc import Sequence
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Connection, Update, and_, case, exists, func, literal, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from conversation.message import Message
from conversation.pending_call import PendingRequest
from conversation.turn import (
    Cancelled,
    Completed,
    Ending,
    Failed,
    FinalEnding,
    HandOver,
    Lease,
    RetryLater,
    TurnState,
    Waiting,
)
from store.database.column_types import clock
from store.database.statements import AnyRow, Write, execute_together, with_rows
from store.files.attachments import insert_attachments
from store.files.blob_rows import lock_stored
from store.history import message_rows
from store.history.counters import tokens_of
from store.summaries.due import may_be_summarized
from store.tables import messages, threads, turns
from store.turns import attempts, journal, pending_calls
from store.turns.interrupts import interrupt_in_statements
from store.turns.next_turn import next_turn_after
from store.turns.rolled_back import hide_rolled_back
from store.turns.settle_outcome import SettleOutcome, error_columns, not_held, not_stored


def settle(connection: Connection, lease: Lease, turn_id: str, ending: Ending, *, release: bool) -> SettleOutcome:
    """As `settle.settle`."""
    thread = _lock_held_thread(connection, lease, turn_id)
    if TurnState(thread.turn_state).is_final:
        return SettleOutcome(keeps_lease=thread.lease_owner == lease.worker)
    interrupt_in_statements(connection, lease.thread_key)
    final_ending = ending if isinstance(ending, FinalEnding) else FinalEnding()
    replies = final_ending.messages
    _drop_missing_files(connection, thread.tenant, replies)
    writes: list[Write] = [_finish_turn(turn_id, ending)]
    if replies:
        rows = message_rows.reply_rows(lease.thread_key, turn_id, after_seq=thread.last_seq, replies=replies)
        writes.append(with_rows(messages.insert(), messages, rows))
    if isinstance(ending, Failed | Cancelled):
        writes.append(journal.close_open_calls(turn_id))
    if isinstance(ending, Completed | Cancelled):
        writes.append(_close_pending(turn_id, ending))
    if isinstance(ending, Waiting):
        writes.append(pending_calls.insert_requests(connection, turn_id, thread.tenant, ending.pending))
    if steps := journal.steps_of_ending(turn_id, ending):
        writes.append(journal.upsert(connection, lease, turn_id, steps))
    insert_attachments(connection, lease.thread_key, thread.tenant, _own(replies))
    keeps_lease = isinstance(ending, FinalEnding) and not release
    thread_write = _count_replies(lease, turn_id, thread.last_seq, ending, keeps_lease=keeps_lease)
    (row,) = execute_together(connection, writes, thread_write)
    if isinstance(ending, FinalEnding):
        hide_rolled_back(connection, lease.thread_key, turn_id)
    if isinstance(ending, RetryLater | HandOver | Waiting):
        attempts.record_settled(connection, turn_id, ending, worker=lease.worker)
    return _settle_outcome(row, ending)


def _close_pending(turn_id: str, ending: Completed | Cancelled) -> Update:
    """The statement that closes what a cancelled turn left open: whoever asked for it took that back."""
    closing = pending_calls.close_open(turn_id)
    if isinstance(ending, Cancelled):
        return closing
    # A cancel request came before this commit.
    return closing.where(exists().where(turns.c.id == turn_id, turns.c.cancel_requested_at.is_not(None)))


def _count_replies(
    lease: Lease, turn_id: str, last_seq: int, ending: Ending, *, keeps_lease: bool
) -> ReturningUpdate[Any]:
    """The statement that counts a thread's new replies, and keeps its lease only for a next turn."""
    replies = ending.messages if isinstance(ending, FinalEnding) else ()
    next_turn_id = next_turn_after(lease.thread_key, turn_id)
    lease_owner = case((next_turn_id.is_not(None), literal(lease.worker, threads.c.lease_owner.type)), else_=None)
    return (
        update(threads)
        .where(threads.c.key == lease.thread_key)
        .values(
            last_seq=last_seq + len(replies),
            uncovered_messages=threads.c.uncovered_messages + len(replies),
            uncovered_tokens=threads.c.uncovered_tokens + sum(map(tokens_of, replies)),
            window_tokens=ending.window_tokens if isinstance(ending, FinalEnding) else threads.c.window_tokens,
            updated_at=clock(),
            lease_owner=lease_owner if keeps_lease else None,
            **_assigned_columns(ending),
        )
        .returning(threads.c.lease_owner, next_turn_id.label("next_turn_id"), *_uncovered_columns())
    )


def _assigned_columns(ending: Ending) -> dict[str, str]:
    agent = ending.hands_over_to if isinstance(ending, FinalEnding) else None
    return {} if agent is None else {"assigned_agent": agent}


def _uncovered_columns() -> tuple[ColumnElement[Any], ...]:
    counters = (threads.c.uncovered_messages, threads.c.uncovered_tokens, threads.c.window_tokens)
    return *counters, may_be_summarized().label("summarizable")


def _settle_outcome(row: AnyRow, ending: Ending) -> SettleOutcome:
    # A turn that is queued again is itself the head: no later turn can start.
    next_turn_id = row.next_turn_id if isinstance(ending, FinalEnding) else None
    return SettleOutcome(
        next_turn_id,
        keeps_lease=row.lease_owner is not None,
        uncovered_messages=row.uncovered_messages if row.summarizable else 0,
        uncovered_tokens=row.uncovered_tokens if row.summarizable else 0,
        window_tokens=row.window_tokens,
    )


def _own(replies: Sequence[Message]) -> list[Message]:
    """The messages that the turn made: the files of others, which it was told while it ran, are stored with them."""
    return [reply for reply in replies if reply.turn_id is None]


def _drop_missing_files(connection: Connection, tenant: str, messages: Sequence[Message]) -> None:
    """Drop attachments whose blobs garbage collection took from a turn that went on after weeks."""
    files = [file for message in _own(messages) for file in message.attachments]
    if not files:
        return
    stored_hashes = lock_stored(connection, tenant, files)
    for message in _own(messages):
        message.attachments[:] = [file for file in message.attachments if file.sha256 in stored_hashes]


def _lock_held_thread(connection: Connection, lease: Lease, turn_id: str) -> AnyRow:
    thread: AnyRow | None = connection.execute(
        select(
            threads.c.tenant,
            threads.c.fencing_token,
            threads.c.lease_owner,
            threads.c.last_seq,
            turns.c.state.label("turn_state"),
        )
        .join(turns, and_(turns.c.thread_key == threads.c.key, turns.c.id == turn_id))
        .where(threads.c.key == lease.thread_key)
        # Lock both: of a row that is only read, a statement that waited sees the state before its wait.
        .with_for_update(key_share=True, of=[threads, turns])
    ).one_or_none()
    if thread is None:
        raise not_stored(lease, turn_id)
    state = TurnState(thread.turn_state)
    # A turn that is queued again was settled under this token, and its next run needs another.
    is_held = thread.lease_owner == lease.worker and state is TurnState.RUNNING
    if thread.fencing_token != lease.fencing_token or not (is_held or state.is_final):
        raise not_held(lease)
    return thread


def _finish_turn(turn_id: str, ending: Ending) -> Update:
    statement = update(turns).where(turns.c.id == turn_id)
    match ending:
        case Completed():
            # A cancel request came before this commit: the reply is kept, the turn is cancelled.
            state = case((turns.c.cancel_requested_at.is_not(None), "cancelled"), else_="completed")
            return statement.values(state=state, **_finish_columns(ending))
        case Cancelled():
            return statement.values(state="cancelled", **_finish_columns(ending))
        case Failed(error=error):
            return statement.values(state="failed", **_finish_columns(ending) | error_columns(error))
        case RetryLater(after=after, error=error, is_put_off=is_put_off, waits_for=waits_for):
            return statement.values(
                state="queued",
                # A turn with a cancel request is due now, so that its next holder can end it.
                retry_at=case(
                    (turns.c.cancel_requested_at.is_(None), clock(plus_seconds=after.total_seconds())), else_=None
                ),
                retries=turns.c.retries + (0 if is_put_off else 1),
                waits_for=waits_for,
                failing_since=func.coalesce(turns.c.failing_since, clock()),
                notified_at=None,
                **error_columns(error),
            )
        case HandOver(error=error):
            counted = turns.c.interruptions if error is None else turns.c.crashes
            error_values = {} if error is None else error_columns(error)
            counts = {counted.name: counted + 1}
            return statement.values(state="queued", notified_at=None, waits_for=None, **counts, **error_values)
        case Waiting(pending=pending):
            return statement.values(state="waiting", **_wait_columns(turn_id, pending))
        case _:
            assert_never(ending)


def _wait_columns(turn_id: str, pending: Sequence[PendingRequest]) -> dict[str, Any]:
    asked_until = clock(plus_seconds=min(request.expire_seconds for request in pending))
    # Of what an earlier attempt left open, too: its requests are not stored yet.
    left_until = pending_calls.select_first_expiry(turn_id).scalar_subquery()
    expires_at = case((left_until < asked_until, left_until), else_=asked_until)
    return {
        "notified_at": None,
        "waits_for": None,
        "failing_since": None,
        # Decided anywhere, it goes on wherever its agent is served.
        "local_process_id": None,
        "wait_expires_at": case((turns.c.deadline < expires_at, turns.c.deadline), else_=expires_at),
    }


def _finish_columns(ending: FinalEnding) -> dict[str, Any]:
    return {
        "finished_at": clock(),
        # What an earlier attempt failed of is over: its row in `turn_attempts` says it.
        **dict.fromkeys(("error_kind", "error_message", "error_retryable", "error_fault")),
        "usage": ending.usage.to_row(),
        "cost": ending.cost,
        "omitted": None if ending.omitted is None else dict(ending.omitted),
    }
