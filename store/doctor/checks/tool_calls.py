"""Tool calls and their results, in the history and in the journal.

A history is appended to and never rewritten, so nothing can be put between a call and what stands
behind it: such a call is reported and stays. It harms no model, since every request that is built closes
open calls and leaves stray results out. Only where the open call is the end of the history can its
unknown result still be appended.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, exists, func, not_, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB

from conversation.history import NO_RESULT, open_calls
from conversation.message import Message
from conversation.turn import FINAL_STATES
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.history import message_rows
from store.lineage import read_lineage
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


def _select_open_calls(connection: Connection, _: Scope) -> Select[Any]:
    later = messages.alias("later")
    is_followed = (
        exists()
        .where(later.c.thread_key == messages.c.thread_key, later.c.seq > messages.c.seq, later.c.role != "tool")
        .correlate(messages)
    )
    is_turn_begun = (turns.c.thread_key == threads.c.key) & turns.c.window_to_seq.is_not(None)
    is_shut = or_(is_followed, exists().where(is_turn_begun, unfinished).correlate(threads))
    return (
        select(*thread_columns(), messages.c.seq, messages.c.turn_id, threads.c.last_seq, is_shut.label("is_shut"))
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.role == "assistant",
            messages.c.tool_calls.is_not(None),
            # What is out of view is shown to no model.
            messages.c.rolled_back.is_(False),
            _has_open_call(connection),
            # Library code may be about to go on with a call that it appended by itself.
            or_(messages.c.turn_id.is_not(None), is_followed),
        )
    )


def _has_open_call(connection: Connection) -> ColumnElement[bool]:
    """Whether a call of a message has no result before the next assistant message."""
    answer, next_message = messages.alias("answer"), messages.alias("following")
    call, call_id = _calls_of(connection, messages)
    next_assistant_seq = (
        select(func.min(next_message.c.seq))
        .where(
            next_message.c.thread_key == messages.c.thread_key,
            next_message.c.seq > messages.c.seq,
            next_message.c.role == "assistant",
        )
        .correlate(messages)
        .scalar_subquery()
    )
    is_answered = exists().where(
        answer.c.thread_key == messages.c.thread_key,
        answer.c.seq > messages.c.seq,
        answer.c.role == "tool",
        answer.c.tool_call_id == call_id,
        or_(next_assistant_seq.is_(None), answer.c.seq < next_assistant_seq),
    )
    return exists().select_from(call).where(not_(is_answered.correlate(messages, call))).correlate(messages)


def _report_open_call(row: AnyRow) -> Finding:
    where = "more stands behind it" if row.is_shut else "it is the end of the history"
    detail = f"a call has no result; {where}"
    return report_row(row, detail, is_repairable=not row.is_shut, seq=row.seq, turn=row.turn_id)


def _close_calls(connection: Connection, row: AnyRow) -> str:
    lineage = read_lineage(connection, row.key)
    rows = connection.execute(message_rows.history_rows(lineage, after_seq=row.seq - 1, to_seq=row.last_seq))
    calls = open_calls(message_rows.load(connection, lineage, rows))
    results = [
        Message(role="tool", tool_call_id=call_id, name=name, content=NO_RESULT) for call_id, name in calls.items()
    ]
    result_rows = message_rows.reply_rows(row.key, row.turn_id, after_seq=row.last_seq, replies=results)
    connection.execute(messages.insert(), result_rows)
    connection.execute(
        update(threads)
        .where(threads.c.key == row.key)
        .values(
            last_seq=row.last_seq + len(result_rows),
            uncovered_messages=threads.c.uncovered_messages + len(result_rows),
            uncovered_tokens=threads.c.uncovered_tokens + sum(row["tokens"] for row in result_rows),
            updated_at=clock(),
        )
    )
    return f"{len(result_rows)} results that say that none is known were appended"


def _select_stray_results(connection: Connection, _: Scope) -> Select[Any]:
    asking_seq = _asking_seq()
    return (
        select(*thread_columns(), messages.c.seq, messages.c.turn_id)
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.role == "tool",
            or_(not_(_is_asked_for(connection, asking_seq)), _is_second_result(asking_seq)),
            # Its call may have stood where retention has deleted everything.
            not_(and_(asking_seq.is_(None), threads.c.history_starts_after > 0)),
        )
    )


def _asking_seq() -> ColumnElement[int]:
    """The seq of the assistant's last message before a message."""
    before = messages.alias("before")
    return (
        select(func.max(before.c.seq))
        .where(
            before.c.thread_key == messages.c.thread_key, before.c.seq < messages.c.seq, before.c.role == "assistant"
        )
        .correlate(messages)
        .scalar_subquery()
    )


def _is_asked_for(connection: Connection, asking_seq: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the assistant's message of this seq has the call that a message is the result of."""
    asking = messages.alias("asking")
    call, call_id = _calls_of(connection, asking)
    return (
        exists()
        .select_from(asking, call)
        .where(
            asking.c.thread_key == messages.c.thread_key, asking.c.seq == asking_seq, call_id == messages.c.tool_call_id
        )
        .correlate(messages)
    )


def _is_second_result(asking_seq: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a result of the same call stands before a message, behind the assistant's."""
    earlier = messages.alias("earlier")
    return (
        exists()
        .where(
            earlier.c.thread_key == messages.c.thread_key,
            earlier.c.seq < messages.c.seq,
            earlier.c.seq > asking_seq,
            earlier.c.tool_call_id == messages.c.tool_call_id,
        )
        .correlate(messages)
    )


def _report_stray_result(row: AnyRow) -> Finding:
    return report_row(row, "a result answers no open call", seq=row.seq, turn=row.turn_id)


def _select_open_steps(_: Connection, scope: Scope) -> Select[Any]:
    # A model call that got no reply stays so, with what was paid for it.
    is_call = steps.c.kind == "tool", steps.c.state == "started"
    is_open = exists().where(steps.c.turn_id == turns.c.id, *is_call).correlate(turns)
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"))
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.state.in_(sorted(FINAL_STATES)),
            turns.c.finished_at < clock(plus_seconds=-scope.older_than_seconds),
            is_open,
        )
    )


def _report_open_step(row: AnyRow) -> Finding:
    return report_row(row, "it is over, and a call of it has no outcome", is_repairable=True, turn=row.turn_id)


def _close_steps(connection: Connection, row: AnyRow) -> str:
    closed_count = connection.execute(journal.close_open_calls(row.turn_id)).rowcount
    return f"the outcome of {closed_count} calls was noted as unknown"


CHECKS: tuple[Check, ...] = (
    RowCheck(
        name="call-without-result",
        means="an assistant's tool call has no tool message before the assistant's next message",
        advice="at the end of a history, a result that says that none is known is appended; elsewhere it "
        "stays, and every request to a model closes it",
        select_rows=_select_open_calls,
        identity={"seq": messages.c.seq},
        report=_report_open_call,
        repair=_close_calls,
        reads_histories=True,
    ).build(),
    RowCheck(
        name="result-without-call",
        means="a tool message answers no open call of the assistant's message before it",
        advice="it stays in the history, and every request to a model leaves it out",
        select_rows=_select_stray_results,
        identity={"seq": messages.c.seq},
        report=_report_stray_result,
        reads_histories=True,
    ).build(),
    RowCheck(
        name="step-left-started",
        means="a turn is over, and its journal has a call that began and has no outcome",
        advice="the outcome is noted as unknown: the tool may have taken effect",
        select_rows=_select_open_steps,
        identity={"turn_id": turns.c.id},
        report=_report_open_step,
        repair=_close_steps,
        reads_histories=True,
    ).build(),
)
