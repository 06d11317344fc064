"""Marks of threads, by which those who follow them see that there is more to read.

What stays true: a mark is another one after each change that brings an event, and many are read in one statement.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, func, or_, select

from store.database.sqlite import read_only
from store.database.statements import convert_row
from store.tables import threads, turns
from store.tables.turns import unfinished


@dataclass(frozen=True, slots=True)
class ThreadMark:
    """A mark in a thread's rows: where it is another, there is more to read."""

    last_seq: int
    fencing_token: int
    history_starts_after: int
    updated_at: datetime
    #: Turns that wait or run.
    unfinished: int


@read_only
def peek_threads(connection: Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], ThreadMark]:
    """The marks of threads, by tenant and id; one that is not stored is not among them. One statement."""
    by_tenant: dict[str, list[str]] = {}
    for tenant, thread_id in names:
        by_tenant.setdefault(tenant, []).append(thread_id)
    if not by_tenant:
        return {}
    of_names = or_(*(and_(threads.c.tenant == tenant, threads.c.id.in_(ids)) for tenant, ids in by_tenant.items()))
    statement = select(threads.c.tenant, threads.c.id, *_mark_columns()).where(of_names)
    return {(row.tenant, row.id): convert_row(row, ThreadMark) for row in connection.execute(statement)}


def _mark_columns() -> list[ColumnElement[Any]]:
    names = ("last_seq", "fencing_token", "history_starts_after", "updated_at")
    return [*(threads.c[name] for name in names), _unfinished_turns().label("unfinished")]


def _unfinished_turns() -> ScalarSelect[int]:
    of_thread = turns.c.thread_key == threads.c.key
    return select(func.count()).where(of_thread, unfinished).correlate(threads).scalar_subquery()
