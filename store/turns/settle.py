"""The end of a turn.

What stays true: a turn's messages are committed once, by whoever holds the thread's newest token;
after every end the next head is looked for in the same transaction, so that no bell is needed for
a message that arrived meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from sqlalchemy import ColumnElement, Connection, Update, and_, case, literal, select, update

from conversation.errors import LeaseLost
from conversation.message import Message
from conversation.turn import (
    Cancelled,
    Completed,
    Ended,
    Ending,
    Failed,
    HandBack,
    Lease,
    RetryLater,
    TurnError,
    TurnState,
)
from store.database.column_types import clock
from store.database.statements import AnyRow, Write, together, with_rows
from store.files.attachments import insert_attachments
from store.files.blob_rows import lock_stored
from store.history import message_rows
from store.history.counters import tokens_of
from store.summaries.due import may_be_summarized
from store.tables import messages, threads, turns
from store.turns import journal
from store.turns.next_turn import next_after

#: Enough of an error for a person; a provider's page of HTML is not kept.
ERROR_MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Settled:
    """What comes after a turn's end."""

    #: The next turn of the thread that can start now, if there is one.
    next_turn_id: str | None = None
    #: The lease is still held, to go on with that turn.
    keeps_lease: bool = False
    #: What no summary covers, for whoever rings for one; nothing where one is put off. It says nothing
    #: of what comes next.
    uncovered_messages: int = field(default=0, compare=False)
    uncovered_tokens: int = field(default=0, compare=False)


def settle(connection: Connection, lease: Lease, turn_id: str, ending: Ending, *, release: bool) -> Settled:
    """Write a turn's end: its replies, its last steps, its state; then go on or let go.

    Running it twice changes nothing. Raises `LeaseLost` if another worker has claimed the thread:
    then nothing is written.
    """
    thread = _lock_with_token(connection, lease, turn_id)
    if TurnState(thread.turn_state).is_final:
        return Settled(keeps_lease=thread.owner == lease.worker)
    kept = ending if isinstance(ending, Ended) else Ended()
    _leave_out_lost_files(connection, thread.tenant, kept.messages)
    writes: list[Write] = [_turn_write(turn_id, ending)]
    if kept.messages:
        rows = message_rows.reply_rows(
            lease.thread_key, turn_id, after_seq=thread.last_seq, replies=kept.messages
        )
        writes.append(with_rows(messages.insert(), messages, rows))
    if isinstance(ending, Failed | Cancelled):
        writes.append(journal.close_open(turn_id))
    if kept.steps:
        writes.append(journal.upsert(connection, lease, turn_id, kept.steps))
    insert_attachments(connection, lease.thread_key, thread.tenant, kept.messages)
    following = next_after(lease.thread_key, turn_id)
    goes_on = isinstance(ending, Ended) and not release
    then = (
        update(threads)
        .where(threads.c.key == lease.thread_key)
        .values(
            last_seq=thread.last_seq + len(kept.messages),
            uncovered_messages=threads.c.uncovered_messages + len(kept.messages),
            uncovered_tokens=threads.c.uncovered_tokens + sum(map(tokens_of, kept.messages)),
            updated_at=clock(),
            owner=case((following.is_not(None), literal(lease.worker, threads.c.owner.type)), else_=None)
            if goes_on
            else None,
        )
        .returning(threads.c.owner, following.label("following"), *_uncovered())
    )
    (row,) = together(connection, writes, then)
    return _settled(row, ending)


def _uncovered() -> tuple[ColumnElement[Any], ...]:
    return threads.c.uncovered_messages, threads.c.uncovered_tokens, may_be_summarized().label("may")


def _settled(row: AnyRow, ending: Ending) -> Settled:
    # A turn that is queued again is itself the head: nothing behind it can start.
    following_id = row.following if isinstance(ending, Ended) else None
    return Settled(
        following_id,
        keeps_lease=row.owner is not None,
        uncovered_messages=row.uncovered_messages if row.may else 0,
        uncovered_tokens=row.uncovered_tokens if row.may else 0,
    )


def _leave_out_lost_files(connection: Connection, tenant: str, messages: Sequence[Message]) -> None:
    """A turn that went on after weeks may bring a tool's file that nobody kept: no row may point to it."""
    files = [file for message in messages for file in message.attachments]
    if not files:
        return
    stored = lock_stored(connection, tenant, files)
    for message in messages:
        message.attachments[:] = [file for file in message.attachments if file.sha256 in stored]


def _lock_with_token(connection: Connection, lease: Lease, turn_id: str) -> AnyRow:
    thread: AnyRow | None = connection.execute(
        select(
            threads.c.tenant,
            threads.c.fence,
            threads.c.owner,
            threads.c.last_seq,
            turns.c.state.label("turn_state"),
        )
        .join(turns, and_(turns.c.thread_key == threads.c.key, turns.c.id == turn_id))
        .where(threads.c.key == lease.thread_key)
        # Both: of a row that is only read, whoever had to wait sees what was there before it waited.
        .with_for_update(key_share=True, of=[threads, turns])
    ).one_or_none()
    if thread is None:
        raise LeaseLost(f"thread {lease.thread_key} or its turn {turn_id} is no longer stored")
    state = TurnState(thread.turn_state)
    # One that is queued again was settled under this token, and its next run needs another.
    is_held = thread.owner == lease.worker and state is TurnState.RUNNING
    if thread.fence != lease.fence or not (is_held or state.is_final):
        raise LeaseLost(f"thread {lease.thread_key} is no longer held under token {lease.fence}")
    return thread


def _turn_write(turn_id: str, ending: Ending) -> Update:
    statement = update(turns).where(turns.c.id == turn_id)
    match ending:
        case Completed():
            # Somebody asked to stop before this commit: the reply is kept, the turn is cancelled.
            state = case((turns.c.cancel_requested_at.is_not(None), "cancelled"), else_="completed")
            return statement.values(state=state, **_finished(ending))
        case Cancelled():
            return statement.values(state="cancelled", **_finished(ending))
        case Failed(error=error):
            return statement.values(state="failed", **_finished(ending), **_error(error))
        case RetryLater(after=after, error=error):
            return statement.values(
                state="queued",
                # One that somebody asked to stop is due now, so that its next holder can end it.
                retry_at=case(
                    (turns.c.cancel_requested_at.is_(None), clock(plus_seconds=after.total_seconds())),
                    else_=None,
                ),
                retries=turns.c.retries + 1,
                rung_at=None,
                **_error(error),
            )
        case HandBack():
            return statement.values(state="queued", rung_at=None)
        case _:
            assert_never(ending)


def _finished(ended: Ended) -> dict[str, Any]:
    return {"finished_at": clock(), "usage": ended.usage.to_json(), "cost": ended.cost}


def _error(error: TurnError) -> dict[str, Any]:
    return {
        "error_kind": error.kind,
        "error_message": error.message.replace("\x00", "")[:ERROR_MAX_CHARS],
        "error_retryable": error.retryable,
        "error_fault": error.fault,
    }
