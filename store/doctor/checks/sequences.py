"""The positions of a history, and the inbox in front of it.

Some empty positions are no finding: `last_seq` never falls, so what retention deleted leaves its
position empty, and of two copies that save the same messages only one uses its positions; what follows
those was saved as well. Turns leave none: at an empty position right before a turn's message, a message
is gone. So it is where a turn has begun without its question; and some messages stand where none are read.
A branch's own messages begin behind what it shares; what others share of a row may stand where it is hidden there.
"""

from typing import Any

from sqlalchemy import Connection, Select, and_, case, exists, func, not_, or_, select, update

from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.tables import inbox_messages, messages, threads, turns
from store.tables.retention import pending_deletions
from store.tables.turns import unfinished

_child = threads.alias("child")
_newest_seq = (
    select(func.max(messages.c.seq)).where(messages.c.thread_key == threads.c.key).correlate(threads).scalar_subquery()
)
_is_being_deleted = exists().where(pending_deletions.c.thread_key == threads.c.key).correlate(threads)
#: Behind these, a row's own messages that it shows stand.
_starts_after = case(
    (threads.c.shared_to_seq > threads.c.history_starts_after, threads.c.shared_to_seq),
    else_=threads.c.history_starts_after,
)
_is_shared = exists().where(_child.c.parent_key == threads.c.key).correlate(threads)
_oldest_seq = (
    select(func.min(messages.c.seq)).where(messages.c.thread_key == threads.c.key).correlate(threads).scalar_subquery()
)


def _select_gaps(_: Connection, __: Scope) -> Select[Any]:
    before = messages.alias("before")
    is_preceded = exists().where(before.c.thread_key == messages.c.thread_key, before.c.seq == messages.c.seq - 1)
    return (
        select(*thread_columns(), messages.c.seq)
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(messages.c.turn_id.is_not(None), messages.c.seq > _starts_after + 1, ~is_preceded.correlate(messages))
    )


def _report_gap(row: AnyRow) -> Finding:
    seq = row.seq - 1
    return report_row(row, f"nothing stands at {seq}, right before a message of a turn", seq=seq)


def _select_lagging_last_seq(_: Connection, __: Scope) -> Select[Any]:
    return select(*thread_columns(), threads.c.last_seq, _newest_seq.label("newest")).where(
        _newest_seq > threads.c.last_seq
    )


def _report_lagging_last_seq(row: AnyRow) -> Finding:
    detail = f"last_seq is {row.last_seq}, the newest message stands at {row.newest}"
    return report_row(row, detail, is_repairable=True)


def _advance_last_seq(connection: Connection, row: AnyRow) -> str:
    connection.execute(update(threads).where(threads.c.key == row.key).values(last_seq=row.newest))
    return f"last_seq was set to {row.newest}"


def _select_out_of_reach(_: Connection, __: Scope) -> Select[Any]:
    is_deleted = and_(_oldest_seq <= threads.c.history_starts_after, not_(_is_being_deleted), not_(_is_shared))
    columns = threads.c.history_starts_after, threads.c.shared_to_seq, _oldest_seq.label("oldest")
    is_below = _oldest_seq <= func.coalesce(threads.c.shared_to_seq, 0)
    return select(*thread_columns(), *columns).where(or_(is_below, is_deleted))


def _report_out_of_reach(row: AnyRow) -> Finding:
    detail = f"a message stands at {row.oldest}"
    if row.oldest <= (row.shared_to_seq or 0) > 0:
        detail += f", and up to {row.shared_to_seq} the branch shares the history of another one"
    elif row.oldest >= 1:
        detail += f", and retention says that it deleted up to {row.history_starts_after}"
    return report_row(row, detail, seq=row.oldest)


def _select_without_question(_: Connection, __: Scope) -> Select[Any]:
    has_question = exists().where(messages.c.thread_key == turns.c.thread_key, messages.c.seq == turns.c.window_to_seq)
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"), turns.c.window_to_seq)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(unfinished, turns.c.window_to_seq > threads.c.history_starts_after, ~has_question.correlate(turns))
    )


def _report_without_question(row: AnyRow) -> Finding:
    seq = row.window_to_seq
    return report_row(row, f"it has begun, and nothing stands at {seq}", turn=row.turn_id, seq=seq)


def _select_left_in_inbox(_: Connection, __: Scope) -> Select[Any]:
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"), inbox_messages.c.index.label("input_index"))
        .select_from(inbox_messages)
        .join(turns, inbox_messages.c.turn_id == turns.c.id)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(turns.c.window_to_seq.is_not(None))
    )


def _report_left_in_inbox(row: AnyRow) -> Finding:
    detail = "the turn has begun, and its message has no position in the history"
    return report_row(row, detail, turn=row.turn_id, index=row.input_index)


CHECKS: tuple[Check, ...] = (
    RowCheck(
        name="question-missing",
        means="a turn has begun and is not over, and the newest message that it answers is missing",
        advice="cancel the turn, and send the message again",
        select_rows=_select_without_question,
        identity={"turn_id": turns.c.id},
        report=_report_without_question,
    ).build(),
    RowCheck(
        name="input-left-behind",
        means="a turn has begun, and its message is still in the inbox",
        advice="read it in inbox_messages, and send it again: a seq behind the answer would be a wrong one",
        select_rows=_select_left_in_inbox,
        identity={"turn_id": turns.c.id, "input_index": inbox_messages.c.index},
        report=_report_left_in_inbox,
    ).build(),
    RowCheck(
        name="gap-in-sequence",
        means="the position right before a turn's message is empty: a message is gone",
        advice="compare with a backup; nothing that was said is moved together",
        select_rows=_select_gaps,
        identity={"seq": messages.c.seq},
        report=_report_gap,
        reads_histories=True,
    ).build(),
    RowCheck(
        name="last-seq-behind",
        means="a message stands behind the last position that its thread knows",
        advice="the thread's last_seq is moved to its newest message",
        select_rows=_select_lagging_last_seq,
        report=_report_lagging_last_seq,
        repair=_advance_last_seq,
        reads_histories=True,
    ).build(),
    RowCheck(
        name="message-out-of-reach",
        means="a message stands before the first position, or where retention has deleted everything",
        advice="compare with a backup; delete the message, or lower the thread's history_starts_after",
        select_rows=_select_out_of_reach,
        report=_report_out_of_reach,
        reads_histories=True,
    ).build(),
)
