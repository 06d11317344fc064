"""Marks of threads, by which those who follow them see that there is more to read.

What stays true: a mark is another one after each change that brings an event, and many are read in one statement.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, and_, func, literal, or_, select, union_all

from conversation.branch_address import row_id_of, split_address
from store.database.sqlite import read_only
from store.database.statements import convert_row
from store.tables import threads, turns
from store.tables.turns import is_unfinished_in_thread

_named = threads.alias("named")


@dataclass(frozen=True, slots=True)
class ThreadMark:
    """A mark in a thread's rows: where it is another, there is more to read."""

    #: Of the row: another one where another branch was chosen.
    key: int
    last_seq: int
    fencing_token: int
    history_starts_after: int
    updated_at: datetime
    #: Turns that wait or run.
    unfinished: int


@read_only
def peek_threads(connection: Connection, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], ThreadMark]:
    """The marks of threads, by tenant and id or address; one that is not stored is not among them. One statement."""
    if not names:
        return {}
    chosen = {name: name for name in names if split_address(name[1])[1] is None}
    exact = {(tenant, row_id_of(name)): (tenant, name) for tenant, name in names if (tenant, name) not in chosen}
    chosen_key = func.coalesce(_named.c.chosen_key, _named.c.key)
    selects = [
        _select_marks(wanted, key, is_exact=wanted is exact)
        for wanted, key in ((chosen, chosen_key), (exact, _named.c.key))
        if wanted
    ]
    rows = connection.execute(union_all(*selects) if len(selects) > 1 else selects[0])
    return {(exact if row.is_exact else chosen)[row.tenant, row.id]: convert_row(row, ThreadMark) for row in rows}


def _select_marks(names: Iterable[tuple[str, str]], key: ColumnElement[int], *, is_exact: bool) -> Select[Any]:
    by_tenant: dict[str, list[str]] = {}
    for tenant, row_id in names:
        by_tenant.setdefault(tenant, []).append(row_id)
    of_names = or_(*(and_(_named.c.tenant == tenant, _named.c.id.in_(ids)) for tenant, ids in by_tenant.items()))
    columns = [_named.c.tenant, _named.c.id, literal(is_exact).label("is_exact"), *_mark_columns()]
    return select(*columns).join_from(_named, threads, threads.c.key == key).where(of_names)


def _mark_columns() -> list[ColumnElement[Any]]:
    names = ("key", "last_seq", "fencing_token", "history_starts_after", "updated_at")
    return [*(threads.c[name] for name in names), _unfinished_turns().label("unfinished")]


def _unfinished_turns() -> ScalarSelect[int]:
    of_thread = turns.c.thread_key == threads.c.key
    return select(func.count()).where(of_thread, is_unfinished_in_thread()).correlate(threads).scalar_subquery()
