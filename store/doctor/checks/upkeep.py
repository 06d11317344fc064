"""What is counted and kept up beside the conversations: summaries, rows of workers, runs of schedules."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, and_, case, exists, func, not_, or_, select, update

from store.database.column_types import clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Look, Scope
from store.doctor.row_check import RowCheck, of_rows, of_thread, thread_ids
from store.history.counters import count_behind, recounted, tokens_behind
from store.summaries.due import try_again
from store.tables import MAX_SUMMARY_FAILURES, schedule_runs, summaries, threads, workers
from store.turns.workers import KEEP_DEAD_SECONDS, forget_dead

#: Seconds after which a run of a schedule is not at work any more: its process died, or it broke.
RUN_SECONDS = 24 * 3600.0

_summary_is_there = (
    exists()
    .where(summaries.c.id == threads.c.summary_id, summaries.c.thread_key == threads.c.key)
    .correlate(threads)
)
_covered_to = func.coalesce(
    select(summaries.c.to_seq)
    .where(summaries.c.id == threads.c.summary_id)
    .correlate(threads)
    .scalar_subquery(),
    0,
)
_told_to = case((_covered_to > threads.c.retention_cut, _covered_to), else_=threads.c.retention_cut)
_uncovered = count_behind(threads.c.key, _told_to)
_uncovered_tokens = tokens_behind(threads.c.key, _told_to)


def _without_summary(_: Connection, __: Scope) -> Select[Any]:
    return select(*of_thread(), threads.c.summary_id).where(
        threads.c.summary_id.is_not(None), not_(_summary_is_there)
    )


def _tell_without_summary(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"summary": row.summary_id}
    return Finding(ids=ids, detail="its summary is not stored", is_repairable=True, row=row)


def _drop_summary(connection: Connection, row: AnyRow) -> str:
    """As if somebody had dropped it: models see the messages again."""
    mended = update(threads).where(threads.c.key == row.key)
    cut = select(threads.c.retention_cut).where(threads.c.key == row.key).scalar_subquery()
    connection.execute(mended.values(summary_id=None, **recounted(row.key, behind=cut)))
    return "the thread has no summary any more"


def _miscounted(_: Connection, __: Scope) -> Select[Any]:
    """Places are counted as well as messages: what is between the two is right."""
    counted = threads.c.uncovered_messages
    places = threads.c.last_seq - _covered_to
    return select(
        *of_thread(),
        _told_to.label("covered_to"),
        counted.label("counted"),
        _uncovered.label("uncovered"),
        threads.c.uncovered_tokens.label("counted_tokens"),
        _uncovered_tokens.label("uncovered_tokens"),
    ).where(
        or_(threads.c.summary_id.is_(None), _summary_is_there),
        or_(
            counted > places,
            counted < _uncovered,
            threads.c.uncovered_tokens < _uncovered_tokens,
            # Of an empty place nobody knows how many tokens it had.
            and_(places == _uncovered, threads.c.uncovered_tokens > _uncovered_tokens),
        ),
    )


def _tell_miscounted(row: AnyRow) -> Finding:
    detail = (
        f"it counts {row.counted} messages and {row.counted_tokens} tokens without a summary, "
        f"and has {row.uncovered} and {row.uncovered_tokens}"
    )
    return Finding(ids=thread_ids(row), detail=detail, is_repairable=True, row=row)


def _recount(connection: Connection, row: AnyRow) -> str:
    counted = recounted(row.key, behind=row.covered_to)
    connection.execute(update(threads).where(threads.c.key == row.key).values(counted))
    return f"uncovered_messages was set to {row.uncovered}"


def _given_up(_: Connection, __: Scope) -> Select[Any]:
    return select(*of_thread(), threads.c.summary_failures, threads.c.agent).where(
        threads.c.summary_failures >= MAX_SUMMARY_FAILURES
    )


def _tell_given_up(row: AnyRow) -> Finding:
    ids = thread_ids(row) | {"agent": row.agent}
    detail = f"its next summary failed {row.summary_failures} times in a row, and nobody tries again"
    return Finding(ids=ids, detail=detail, is_repairable=True, row=row)


def _try_again(connection: Connection, row: AnyRow) -> str:
    try_again(connection, row.key)
    return "its summary is tried again"


def _long_dead(connection: Connection, *, limit: int) -> list[AnyRow]:
    # The sweep forgets them when their time is over: twice as long means that it does not.
    dead = workers.c.until < clock(plus_seconds=-2 * KEEP_DEAD_SECONDS)
    return list(
        connection.execute(
            select(workers.c.id, workers.c.host).where(dead).order_by(workers.c.id).limit(limit)
        )
    )


def _find_long_dead(look: Look) -> Iterator[Finding]:
    for row in look.run(partial(_long_dead, limit=look.scope.findings + 1)):
        detail = f"it ran on {row.host or 'this machine'}, and nobody forgot it"
        yield Finding(ids={"worker": row.id}, detail=detail, is_repairable=True)


def _forget(look: Look, _: Finding) -> str | None:
    return "forgotten" if look.run(forget_dead) else None


def _unfinished_runs(connection: Connection, *, limit: int) -> list[AnyRow]:
    statement = select(schedule_runs.c.schedule, schedule_runs.c.due_at).where(_never_finished())
    return list(connection.execute(statement.order_by(schedule_runs.c.due_at).limit(limit)))


def _never_finished() -> Any:
    return schedule_runs.c.finished_at.is_(None) & (
        schedule_runs.c.started_at < clock(plus_seconds=-RUN_SECONDS)
    )


def _find_unfinished_runs(look: Look) -> Iterator[Finding]:
    for row in look.run(partial(_unfinished_runs, limit=look.scope.findings + 1)):
        ids = {"schedule": row.schedule, "due_at": row.due_at.isoformat()}
        yield Finding(ids=ids, detail="it was begun and never finished", is_repairable=True, row=row)


def _finish(look: Look, finding: Finding) -> str | None:
    row = finding.row
    assert row is not None
    mine = (schedule_runs.c.schedule == row.schedule) & (schedule_runs.c.due_at == row.due_at)
    statement = update(schedule_runs).where(mine, _never_finished())
    statement = statement.values(finished_at=clock(), error="it never finished")
    return "it was noted as failed" if look.run(lambda c: c.execute(statement).rowcount) else None


CHECKS: tuple[Check, ...] = (
    Check(
        name="worker-long-dead",
        means="a worker died hours ago, and its row is still there",
        advice="the row is deleted",
        find=_find_long_dead,
        repair=_forget,
        is_of_everybody=True,
    ),
    Check(
        name="run-never-finished",
        means="a run of a schedule began more than a day ago and did not finish",
        advice="it is noted as finished, with an unknown outcome: a later tick does its work",
        find=_find_unfinished_runs,
        repair=_finish,
        is_of_everybody=True,
    ),
    of_rows(
        "summary-missing",
        RowCheck(rows=_without_summary, tell=_tell_without_summary, mend=_drop_summary, reads_histories=True),
        means="a thread names a summary that is not stored",
        advice="the thread has none any more: models see the messages again",
    ),
    of_rows(
        "uncovered-count-wrong",
        RowCheck(rows=_miscounted, tell=_tell_miscounted, mend=_recount, reads_histories=True),
        means="a thread miscounts its messages that no summary covers",
        advice="they are counted again",
    ),
    of_rows(
        "summary-given-up",
        RowCheck(rows=_given_up, tell=_tell_given_up, mend=_try_again, reads_histories=True),
        means="the next summary of a thread failed too often",
        advice="it is tried again; the log of the maintenance worker says why it failed: see its model",
    ),
)
