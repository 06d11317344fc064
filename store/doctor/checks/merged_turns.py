"""Merged turns: each is answered by a turn that is stored.

What stays true: its sender's handle shows how that one ended. Without it, the handle would find nothing for ever; as a
turn that failed it says so, and can be asked again with the question that stands in the history.
"""

from typing import Any

from sqlalchemy import Connection, Select, exists, func, select, update

from conversation.errors import Fault
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.tables import messages, threads, turns

_GONE = "the turn that answered it with its own is not stored any more"


def _select_unanswered(_: Connection, scope: Scope) -> Select[Any]:
    answering = turns.alias("answering")
    is_answered = exists().where(answering.c.id == turns.c.merged_into)
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"), turns.c.merged_into)
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.state == "merged",
            ~is_answered.correlate(turns),
            threads.c.updated_at < clock(plus_seconds=-scope.older_than_seconds),
        )
    )


def _report_unanswered(row: AnyRow) -> Finding:
    detail = f"{row.merged_into or 'no turn'} answers its message, and is not stored"
    return report_row(row, detail, is_repairable=True, turn=row.turn_id)


def _let_fail(connection: Connection, row: AnyRow) -> str:
    # Its question ends there, by which it is found when it is asked again; where it is not stored, nothing is asked.
    question = select(func.max(messages.c.seq)).where(
        messages.c.thread_key == row.key, messages.c.turn_id == row.turn_id
    )
    error = {"error_kind": "unreadable", "error_message": _GONE, "error_retryable": False}
    values = {"state": "failed", "merged_into": None, "window_to_seq": question.scalar_subquery(), **error}
    statement = update(turns).where(turns.c.id == row.turn_id)
    connection.execute(statement.values(**values, error_fault=Fault.INTERNAL.value))
    return "the turn was marked as failed"


CHECKS: tuple[Check, ...] = (
    RowCheck(
        name="merged-turn-without-answer",
        means="a turn's message was to be answered by another turn, and that one is not stored",
        advice="the turn is marked as failed; ask it again with `threadmill turns requeue`",
        select_rows=_select_unanswered,
        identity={"turn_id": turns.c.id},
        report=_report_unanswered,
        repair=_let_fail,
    ).build(),
)
