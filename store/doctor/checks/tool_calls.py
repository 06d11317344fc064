"""Tool calls and their results, in the history and in the journal.

A history is appended to and never rewritten, so nothing can be put between a call and what stands
behind it: such a call is named and stays. It harms no model, since every request that is built closes
open calls and leaves stray results out. Only where the open call is the end of the history can its
result, that nobody knows, still be appended.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from conversation.history import NO_RESULT, open_calls
from conversation.message import Message
from conversation.turn import FINAL_STATES
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, of_rows, of_thread, thread_ids
from store.history import message_rows
from store.tables import messages, steps, threads, turns
from store.tables.turns import unfinished
from store.turns import journal


def _calls_of(connection: Connection, message: FromClause) -> tuple[FromClause, ColumnElement[str]]:
    """The tool calls of a message as rows, and the id of one."""
    if connection.dialect.name == "postgresql":
        call = func.jsonb_array_elements(message.c.tool_calls, type_=JSONB).table_valued("value", name="call")
        return call, func.jsonb_extract_path_text(call.c.value, "id")
    call = func.json_each(message.c.tool_calls).table_valued("value", name="call")
    return call, func.json_extract(call.c.value, "$.id")


def _open(connection: Connection, _: Scope) -> Select[Any]:
    later = messages.alias("later")
    is_followed = (
        exists()
        .where(
            later.c.thread_key == messages.c.thread_key,
            later.c.seq > messages.c.seq,
            later.c.role != "tool",
        )
        .correlate(messages)
    )
    at_work = (turns.c.thread_key == threads.c.key) & turns.c.window_to_seq.is_not(None)
    is_shut = or_(is_followed, exists().where(at_work, unfinished).correlate(threads))
    return (
        select(
            *of_thread(),
            messages.c.seq,
            messages.c.turn_id,
            threads.c.last_seq,
            is_shut.label("is_shut"),
        )
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.role == "assistant",
            messages.c.tool_calls.is_not(None),
            _has_open_call(connection),
            # What library code appends by itself, it may be about to go on with.
            or_(messages.c.turn_id.is_not(None), is_followed),
        )
    )


def _has_open_call(connection: Connection) -> ColumnElement[bool]:
    """What answers a call stands before the next assistant message."""
    answer, following = messages.alias("answer"), messages.alias("following")
    call, call_id = _calls_of(connection, messages)
    next_asked = (
        select(func.min(following.c.seq))
        .where(
            following.c.thread_key == messages.c.thread_key,
            following.c.seq > messages.c.seq,
            following.c.role == "assistant",
        )
        .correlate(messages)
        .scalar_subquery()
    )
    answered = exists().where(
        answer.c.thread_key == messages.c.thread_key,
        answer.c.seq > messages.c.seq,
        answer.c.role == "tool",
        answer.c.tool_call_id == call_id,
        or_(next_asked.is_(None), answer.c.seq < next_asked),
    )
    return exists().select_from(call).where(not_(answered.correlate(messages, call))).correlate(messages)


def _tell_open(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"seq": row.seq} | ({"turn": row.turn_id} if row.turn_id else {})
    where = "more stands behind it" if row.is_shut else "it is the end of the history"
    return Finding(ids=ids, detail=f"a call has no result; {where}", is_repairable=not row.is_shut, row=row)


def _close(connection: Connection, row: AnyRow) -> str:
    rows = connection.execute(
        message_rows.history_rows(row.key, after_seq=row.seq - 1, to_seq=row.last_seq).order_by(
            messages.c.seq
        )
    )
    calls = open_calls(message_rows.load(connection, row.key, rows))
    said = [
        Message(role="tool", tool_call_id=call_id, name=name, content=NO_RESULT)
        for call_id, name in calls.items()
    ]
    added = message_rows.reply_rows(row.key, row.turn_id, after_seq=row.last_seq, replies=said)
    connection.execute(messages.insert(), added)
    connection.execute(
        update(threads)
        .where(threads.c.key == row.key)
        .values(
            last_seq=row.last_seq + len(added),
            uncovered_messages=threads.c.uncovered_messages + len(added),
            uncovered_tokens=threads.c.uncovered_tokens + sum(row["tokens"] for row in added),
            updated_at=clock(),
        )
    )
    return f"{len(added)} results that say that none is known were appended"


def _stray(connection: Connection, _: Scope) -> Select[Any]:
    before, asking, earlier = (messages.alias(name) for name in ("before", "asking", "earlier"))
    call, call_id = _calls_of(connection, asking)
    same_thread = messages.c.thread_key
    asked_at = (
        select(func.max(before.c.seq))
        .where(
            before.c.thread_key == same_thread, before.c.seq < messages.c.seq, before.c.role == "assistant"
        )
        .correlate(messages)
        .scalar_subquery()
    )
    is_asked = (
        exists()
        .select_from(asking, call)
        .where(
            asking.c.thread_key == same_thread, asking.c.seq == asked_at, call_id == messages.c.tool_call_id
        )
        .correlate(messages)
    )
    is_second = exists().where(
        earlier.c.thread_key == same_thread,
        earlier.c.seq < messages.c.seq,
        earlier.c.seq > asked_at,
        earlier.c.tool_call_id == messages.c.tool_call_id,
    )
    return (
        select(*of_thread(), messages.c.seq, messages.c.turn_id)
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.role == "tool",
            or_(not_(is_asked), is_second.correlate(messages)),
            # Its call may have stood where retention has deleted everything.
            not_(and_(asked_at.is_(None), threads.c.retention_cut > 0)),
        )
    )


def _tell_stray(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"seq": row.seq} | ({"turn": row.turn_id} if row.turn_id else {})
    return Finding(ids=ids, detail="a result answers no open call", is_repairable=False, row=row)


def _started(_: Connection, scope: Scope) -> Select[Any]:
    is_open = exists().where(steps.c.turn_id == turns.c.id, steps.c.state == "started").correlate(turns)
    return (
        select(*of_thread(), turns.c.id.label("turn_id"))
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.state.in_(sorted(FINAL_STATES)),
            turns.c.finished_at < clock(plus_seconds=-scope.older_than_seconds),
            is_open,
        )
    )


def _tell_started(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"turn": row.turn_id}
    return Finding(ids=ids, detail="it is over, and a call of it has no outcome", is_repairable=True, row=row)


def _settle(connection: Connection, row: AnyRow) -> str:
    closed = connection.execute(journal.close_open(row.turn_id)).rowcount
    return f"the outcome of {closed} calls was noted as unknown"


CHECKS: tuple[Check, ...] = (
    of_rows(
        "call-without-result",
        RowCheck(
            rows=_open, same={"seq": messages.c.seq}, tell=_tell_open, mend=_close, reads_histories=True
        ),
        means="an assistant's tool call has no tool message before the assistant's next message",
        advice="at the end of a history, a result that says that none is known is appended; elsewhere it "
        "stays, and every request to a model closes it",
    ),
    of_rows(
        "result-without-call",
        RowCheck(rows=_stray, same={"seq": messages.c.seq}, tell=_tell_stray, reads_histories=True),
        means="a tool message answers no open call of the assistant's message before it",
        advice="it stays in the history, and every request to a model leaves it out",
    ),
    of_rows(
        "step-left-started",
        RowCheck(
            rows=_started,
            same={"turn_id": turns.c.id},
            tell=_tell_started,
            mend=_settle,
            reads_histories=True,
        ),
        means="a turn is over, and its journal has a call that began and has no outcome",
        advice="the outcome is noted as unknown: the tool may have taken effect",
    ),
)
