"""Checks of branches and forks: what they share, what a deleted one has left, which one a thread's id stands for."""

from typing import Any

from sqlalchemy import Connection, Select, and_, exists, or_, select, update

from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope
from store.doctor.row_check import RowCheck, report_row, thread_columns
from store.retention import sharing
from store.tables import threads
from store.tables.retention import pending_deletions

_parent, _chosen, _child = threads.alias("parent"), threads.alias("chosen"), threads.alias("child")


def _select_left_over(_: Connection, __: Scope) -> Select[Any]:
    """Select what was left to others of whom none is there any more, and whose deletion is not under way."""
    is_shared = exists().where(_child.c.parent_key == threads.c.key).correlate(threads)
    is_first = exists().where(_child.c.root_key == threads.c.key).correlate(threads)
    is_pending = exists().where(pending_deletions.c.thread_key == threads.c.key).correlate(threads)
    columns = threads.c.history_starts_after, threads.c.summary_id, threads.c.deleted_at
    return select(*thread_columns(), *columns).where(
        threads.c.deleted_at.is_not(None), ~is_shared, ~is_first, ~is_pending
    )


def _report_left_over(row: AnyRow) -> Finding:
    return report_row(row, "it was deleted, and nobody shares its history any more", is_repairable=True, key=row.key)


def _open_deletion(connection: Connection, row: AnyRow) -> str:
    sharing.open_deletion(connection, row)
    return "the next run of retention deletes it"


def _select_cut_off(_: Connection, __: Scope) -> Select[Any]:
    """Select branches that share more than the row that they were branched from ever had."""
    return (
        select(*thread_columns(), threads.c.shared_to_seq, _parent.c.last_seq.label("parent_last_seq"))
        .join(_parent, _parent.c.key == threads.c.parent_key)
        .where(threads.c.shared_to_seq > _parent.c.last_seq)
    )


def _report_cut_off(row: AnyRow) -> Finding:
    detail = f"it shares a history up to {row.shared_to_seq}, which ends at {row.parent_last_seq}"
    return report_row(row, detail, seq=row.parent_last_seq)


def _select_wrong_choice(_: Connection, __: Scope) -> Select[Any]:
    """Select threads whose id stands for a branch that was deleted, or is another thread's."""
    is_wrong = or_(_chosen.c.deleted_at.is_not(None), _chosen.c.root_key.is_distinct_from(threads.c.key))
    return (
        select(*thread_columns(), threads.c.deleted_at)
        .join(_chosen, _chosen.c.key == threads.c.chosen_key)
        .where(and_(_chosen.c.key != threads.c.key, is_wrong))
    )


def _report_wrong_choice(row: AnyRow) -> Finding:
    return report_row(row, "its id stands for a branch that it has not", is_repairable=row.deleted_at is None)


def _choose_first(connection: Connection, row: AnyRow) -> str:
    connection.execute(update(threads).where(threads.c.key == row.key).values(chosen_key=None))
    return "its id stands for its first branch"


CHECKS: tuple[Check, ...] = (
    RowCheck(
        name="shared-history-left",
        means="a deleted thread or branch was kept for others that shared its history, and they are gone",
        advice="its deletion goes on with the next run of retention",
        select_rows=_select_left_over,
        report=_report_left_over,
        repair=_open_deletion,
    ).build(),
    RowCheck(
        name="shared-beyond-end",
        means="a branch shares more of a history than there is",
        advice="compare with a backup: what the branch shared is gone, or its shared_to_seq is wrong",
        select_rows=_select_cut_off,
        report=_report_cut_off,
    ).build(),
    RowCheck(
        name="chosen-branch-missing",
        means="a thread's id stands for a branch that was deleted, or that is another thread's",
        advice="the id stands for the thread's first branch again; choose another one if that is not it",
        select_rows=_select_wrong_choice,
        report=_report_wrong_choice,
        repair=_choose_first,
    ).build(),
)
