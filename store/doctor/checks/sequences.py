"""The places of a history, and the inbox in front of it.

Some empty places are no finding: `last_seq` never falls, so what retention deleted leaves its place
empty, and of two copies that save the same messages only one uses its places; what follows those was
saved as well. Turns leave none: an empty place right before a turn's message is a message that is gone.
So is a turn that has begun without its question; and no reader looks where some messages stand.
"""

from typing import Any

from sqlalchemy import Connection, Select, and_, exists, func, not_, or_, select, update

from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, of_rows, of_thread, thread_ids
from store.tables import messages, threads, turn_inputs, turns
from store.tables.retention import retention_cuts
from store.tables.turns import unfinished

_newest = (
    select(func.max(messages.c.seq))
    .where(messages.c.thread_key == threads.c.key)
    .correlate(threads)
    .scalar_subquery()
)
_is_being_deleted = exists().where(retention_cuts.c.thread_key == threads.c.key).correlate(threads)
_oldest = (
    select(func.min(messages.c.seq))
    .where(messages.c.thread_key == threads.c.key)
    .correlate(threads)
    .scalar_subquery()
)


def _gaps(_: Connection, __: Scope) -> Select[Any]:
    before = messages.alias("before")
    is_preceded = exists().where(
        before.c.thread_key == messages.c.thread_key, before.c.seq == messages.c.seq - 1
    )
    return (
        select(*of_thread(), messages.c.seq)
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(
            messages.c.turn_id.is_not(None),
            messages.c.seq > threads.c.retention_cut + 1,
            ~is_preceded.correlate(messages),
        )
    )


def _tell_gap(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"seq": row.seq - 1}
    detail = f"nothing stands at {row.seq - 1}, right before a message of a turn"
    return Finding(ids=ids, detail=detail, is_repairable=False, row=row)


def _behind(_: Connection, __: Scope) -> Select[Any]:
    return select(*of_thread(), threads.c.last_seq, _newest.label("newest")).where(
        _newest > threads.c.last_seq
    )


def _tell_behind(row: AnyRow) -> Finding:
    detail = f"last_seq is {row.last_seq}, the newest message stands at {row.newest}"
    return Finding(ids=thread_ids(row), detail=detail, is_repairable=True, row=row)


def _catch_up(connection: Connection, row: AnyRow) -> str:
    connection.execute(update(threads).where(threads.c.key == row.key).values(last_seq=row.newest))
    return f"last_seq was set to {row.newest}"


def _out_of_reach(_: Connection, __: Scope) -> Select[Any]:
    return select(*of_thread(), threads.c.retention_cut, _oldest.label("oldest")).where(
        or_(_oldest < 1, and_(_oldest <= threads.c.retention_cut, not_(_is_being_deleted)))
    )


def _tell_out_of_reach(row: AnyRow) -> Finding:
    detail = f"a message stands at {row.oldest}"
    if row.oldest >= 1:
        detail += f", and retention says that it deleted up to {row.retention_cut}"
    return Finding(ids=thread_ids(row) | {"seq": row.oldest}, detail=detail, is_repairable=False, row=row)


def _without_question(_: Connection, __: Scope) -> Select[Any]:
    asked = exists().where(
        messages.c.thread_key == turns.c.thread_key, messages.c.seq == turns.c.window_to_seq
    )
    return (
        select(*of_thread(), turns.c.id.label("turn_id"), turns.c.window_to_seq)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            unfinished,
            turns.c.window_to_seq > threads.c.retention_cut,
            ~asked.correlate(turns),
        )
    )


def _tell_without_question(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"turn": row.turn_id, "seq": row.window_to_seq}
    return Finding(
        ids=ids,
        detail=f"it has begun, and nothing stands at {row.window_to_seq}",
        is_repairable=False,
        row=row,
    )


def _left_in_inbox(_: Connection, __: Scope) -> Select[Any]:
    return (
        select(*of_thread(), turns.c.id.label("turn_id"), turn_inputs.c.index.label("place"))
        .select_from(turn_inputs)
        .join(turns, turn_inputs.c.turn_id == turns.c.id)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(turns.c.window_to_seq.is_not(None))
    )


def _tell_left_in_inbox(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"turn": row.turn_id, "index": row.place}
    return Finding(
        ids=ids,
        detail="the turn has begun, and its message has no place in the history",
        is_repairable=False,
        row=row,
    )


CHECKS: tuple[Check, ...] = (
    of_rows(
        "question-missing",
        RowCheck(rows=_without_question, same={"turn_id": turns.c.id}, tell=_tell_without_question),
        means="a turn has begun and is not over, and the newest message that it answers is missing",
        advice="cancel the turn, and send the message again",
    ),
    of_rows(
        "input-left-behind",
        RowCheck(
            rows=_left_in_inbox,
            same={"turn_id": turns.c.id, "place": turn_inputs.c.index},
            tell=_tell_left_in_inbox,
        ),
        means="a turn has begun, and its message is still in the inbox",
        advice="read it in turn_inputs, and send it again: a place behind the answer would be a wrong one",
    ),
    of_rows(
        "gap-in-sequence",
        RowCheck(rows=_gaps, same={"seq": messages.c.seq}, tell=_tell_gap, reads_histories=True),
        means="a place right before a turn's message is empty: a message is gone",
        advice="compare with a backup; nothing that was said is moved together",
    ),
    of_rows(
        "last-seq-behind",
        RowCheck(rows=_behind, tell=_tell_behind, mend=_catch_up, reads_histories=True),
        means="a message stands behind the last place that its thread knows",
        advice="the thread's last_seq is moved to its newest message",
    ),
    of_rows(
        "message-out-of-reach",
        RowCheck(rows=_out_of_reach, tell=_tell_out_of_reach, reads_histories=True),
        means="a message stands before the first place, or where retention has deleted everything",
        advice="compare with a backup; delete the message, or lower the thread's retention_cut",
    ),
)
