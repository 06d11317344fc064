"""Turns that wait for a decision: each has something that is still to be decided.

What stays true: a turn without anything to decide would wait for ever, and its thread with it; to queue it again is
what the last decision would have done.
"""

from typing import Any

from sqlalchemy import Connection, Select, exists, select, update

from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.tables import pending_calls, threads, turns


def _select_undecidable(_: Connection, scope: Scope) -> Select[Any]:
    has_open_call = exists().where(pending_calls.c.turn_id == turns.c.id, pending_calls.c.decision.is_(None))
    return (
        select(*thread_columns(), turns.c.id.label("turn_id"))
        .join(threads, turns.c.thread_key == threads.c.key)
        .where(
            turns.c.state == "waiting",
            # One that is only to be ended is ended by the sweep.
            turns.c.cancel_requested_at.is_(None),
            ~has_open_call.correlate(turns),
            threads.c.updated_at < clock(plus_seconds=-scope.older_than_seconds),
        )
    )


def _report_undecidable(row: AnyRow) -> Finding:
    return report_row(row, "it waits, and nothing is left to decide", is_repairable=True, turn=row.turn_id)


def _queue_again(connection: Connection, row: AnyRow) -> str:
    values = {"state": "queued", "wait_expires_at": None, "notified_at": None}
    connection.execute(update(turns).where(turns.c.id == row.turn_id).values(values))
    return "the turn was queued again"


CHECKS: tuple[Check, ...] = (
    RowCheck(
        name="turn-waiting-for-nothing",
        means="a turn waits for a decision, and none of its calls is open",
        advice="the turn is queued again, as by the last decision",
        select_rows=_select_undecidable,
        identity={"turn_id": turns.c.id},
        report=_report_undecidable,
        repair=_queue_again,
    ).build(),
)
