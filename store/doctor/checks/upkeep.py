"""Checks of what is kept beside the conversations: summaries, rows of workers, runs of schedules."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, and_, case, exists, func, not_, or_, select, update

from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.history.counters import recount, shared_behind, stored_behind
from store.lineage import read_lineage
from store.summaries.due import reset_failures
from store.tables import MAX_SUMMARY_FAILURES, schedule_runs, summaries, threads, workers
from store.turns.workers import KEEP_DEAD_SECONDS, forget_dead

#: Seconds after which a run of a schedule is not at work any more: its process died, or it broke.
RUN_SECONDS = 24 * 3600.0

_is_own_summary = and_(summaries.c.thread_key == threads.c.key, summaries.c.id == threads.c.summary_id)
_has_stored_summary = exists().where(_is_own_summary).correlate(threads)
_covered_to_seq = func.coalesce(
    select(summaries.c.to_seq).where(_is_own_summary).correlate(threads).scalar_subquery(), 0
)
_uncovered_after_seq = case(
    (_covered_to_seq > threads.c.history_starts_after, _covered_to_seq), else_=threads.c.history_starts_after
)
_own_messages, _own_tokens = stored_behind(threads.c.key, _uncovered_after_seq)


def _select_missing_summaries(_: Connection, __: Scope) -> Select[Any]:
    return select(*thread_columns(), threads.c.summary_id).where(
        threads.c.summary_id.is_not(None), not_(_has_stored_summary)
    )


def _report_missing_summary(row: AnyRow) -> Finding:
    return report_row(row, "its summary is not stored", is_repairable=True, summary=row.summary_id)


def _drop_summary(connection: Connection, row: AnyRow) -> str:
    """Remove a missing summary from its thread: models see the messages again."""
    thread_update = update(threads).where(threads.c.key == row.key)
    cutoff = select(threads.c.history_starts_after).where(threads.c.key == row.key).scalar_subquery()
    connection.execute(
        thread_update.values(summary_id=None, **recount(read_lineage(connection, row.key), after_seq=cutoff))
    )
    return "the thread has no summary any more"


def _select_miscounted(connection: Connection, _: Scope) -> Select[Any]:
    """Select wrong counters: a right one is between the number of messages and that of positions."""
    counter = threads.c.uncovered_messages
    shared_messages, shared_tokens = shared_behind(connection, _uncovered_after_seq)
    uncovered_messages, uncovered_tokens = _own_messages + shared_messages, _own_tokens + shared_tokens
    counted_tokens = threads.c.uncovered_tokens
    # How many tokens an empty position had is unknown.
    is_too_high = and_(threads.c.last_seq - _covered_to_seq == uncovered_messages, counted_tokens > uncovered_tokens)
    is_wrong = or_(counted_tokens < uncovered_tokens, is_too_high)
    positions = threads.c.last_seq - _covered_to_seq
    return select(
        *thread_columns(),
        _uncovered_after_seq.label("covered_to"),
        counter.label("counted"),
        uncovered_messages.label("uncovered"),
        counted_tokens.label("counted_tokens"),
        uncovered_tokens.label("uncovered_tokens"),
    ).where(
        threads.c.deleted_at.is_(None),
        or_(threads.c.summary_id.is_(None), _has_stored_summary),
        or_(
            counter > positions,
            counter < uncovered_messages,
            # A branch that begins far before the end of what it shares counts its share of the tokens.
            and_(threads.c.parent_key.is_(None), is_wrong),
        ),
    )


def _report_miscounted(row: AnyRow) -> Finding:
    detail = (
        f"it counts {row.counted} messages and {row.counted_tokens} tokens without a summary, "
        f"and has {row.uncovered} and {row.uncovered_tokens}"
    )
    return report_row(row, detail, is_repairable=True)


def _recount(connection: Connection, row: AnyRow) -> str:
    counters = recount(read_lineage(connection, row.key), after_seq=row.covered_to)
    connection.execute(update(threads).where(threads.c.key == row.key).values(counters))
    return f"uncovered_messages was set to {row.uncovered}"


def _select_given_up(_: Connection, __: Scope) -> Select[Any]:
    return select(*thread_columns(), threads.c.summary_failures, threads.c.agent).where(
        threads.c.summary_failures >= MAX_SUMMARY_FAILURES
    )


def _report_given_up(row: AnyRow) -> Finding:
    detail = f"its next summary failed {row.summary_failures} times in a row, and nobody tries again"
    return report_row(row, detail, is_repairable=True, agent=row.agent)


def _retry_summary(connection: Connection, row: AnyRow) -> str:
    reset_failures(connection, row.key)
    return "its summary is tried again"


def _read_long_dead(connection: Connection, *, limit: int) -> list[AnyRow]:
    # The sweep forgets them when their time is over: twice as long means that it does not.
    is_dead = workers.c.lease_expires_at < clock(plus_seconds=-2 * KEEP_DEAD_SECONDS)
    return list(
        connection.execute(select(workers.c.id, workers.c.host).where(is_dead).order_by(workers.c.id).limit(limit))
    )


def _find_long_dead(inspection: Inspection) -> Iterator[Finding]:
    for row in inspection.run(_read_long_dead, limit=inspection.scope.findings + 1):
        detail = f"it ran on {row.host or 'this machine'}, and nobody forgot it"
        yield Finding(ids={"worker": row.id}, detail=detail, is_repairable=True)


def _forget_dead_workers(inspection: Inspection, _: Finding) -> str | None:
    return "forgotten" if inspection.run(forget_dead) else None


def _read_unfinished_runs(connection: Connection, *, limit: int) -> list[AnyRow]:
    statement = select(schedule_runs.c.schedule, schedule_runs.c.due_at).where(_is_never_finished())
    return list(connection.execute(statement.order_by(schedule_runs.c.due_at).limit(limit)))


def _is_never_finished() -> Any:
    return schedule_runs.c.finished_at.is_(None) & (schedule_runs.c.started_at < clock(plus_seconds=-RUN_SECONDS))


def _find_unfinished_runs(inspection: Inspection) -> Iterator[Finding]:
    for row in inspection.run(_read_unfinished_runs, limit=inspection.scope.findings + 1):
        ids = {"schedule": row.schedule, "due_at": row.due_at.isoformat()}
        yield Finding(ids=ids, detail="it was begun and never finished", is_repairable=True, row=row)


def _finish_run(inspection: Inspection, finding: Finding) -> str | None:
    row = finding.row
    assert row is not None
    is_this_run = (schedule_runs.c.schedule == row.schedule) & (schedule_runs.c.due_at == row.due_at)
    statement = update(schedule_runs).where(is_this_run, _is_never_finished())
    statement = statement.values(finished_at=clock(), error="it never finished")
    return "it was noted as failed" if inspection.run(lambda c: c.execute(statement).rowcount) else None


CHECKS: tuple[Check, ...] = (
    Check(
        name="worker-long-dead",
        means="a worker died hours ago, and its row is still there",
        advice="the row is deleted",
        find=_find_long_dead,
        repair=_forget_dead_workers,
        is_global=True,
    ),
    Check(
        name="run-never-finished",
        means="a run of a schedule began more than a day ago and did not finish",
        advice="it is noted as finished, with an unknown outcome: a later tick does its work",
        find=_find_unfinished_runs,
        repair=_finish_run,
        is_global=True,
    ),
    RowCheck(
        name="summary-missing",
        means="a thread names a summary that is not stored",
        advice="the thread has none any more: models see the messages again",
        select_rows=_select_missing_summaries,
        report=_report_missing_summary,
        repair=_drop_summary,
        reads_histories=True,
    ).build(),
    RowCheck(
        name="uncovered-count-wrong",
        means="a thread miscounts its messages that no summary covers",
        advice="they are counted again",
        select_rows=_select_miscounted,
        report=_report_miscounted,
        repair=_recount,
        reads_histories=True,
    ).build(),
    RowCheck(
        name="summary-given-up",
        means="the next summary of a thread failed too often",
        advice="it is tried again; the log of the maintenance worker says why it failed: see its model",
        select_rows=_select_given_up,
        report=_report_given_up,
        repair=_retry_summary,
        reads_histories=True,
    ).build(),
)
