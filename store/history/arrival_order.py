"""The turns of a thread in the order of their arrival.

PostgreSQL's index of them has those that are over apart from those that are not, and of both those that have begun
apart from those that have not: four runs, each in the order of arrival. What stays true: of each run it reads no more
than is asked for, however many turns the thread has. SQLite, whose index has them in one run, passes over the others'.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, select, text, union_all
from sqlalchemy.sql.selectable import NamedFromClause

from store.tables.turns import UNFINISHED


def first_turns(statement: Select[Any], source: NamedFromClause, *, limit: int, newest: bool = False) -> Subquery:
    """The first of the turns that a statement selects of one thread, by `arrival_seq`, which is among its columns.

    `source` is `turns`, or its alias there; `newest` has the newest come first. What of the statement stands outside,
    it has to name by `correlate`.
    """
    runs = [
        statement.where(*run).order_by(_order(source.c.arrival_seq, newest=newest)).limit(limit).subquery()
        for run in _runs(source.name)
    ]
    merged = union_all(*map(select, runs)).subquery()
    return select(merged).order_by(_order(merged.c.arrival_seq, newest=newest)).limit(limit).subquery()


def _runs(name: str) -> list[tuple[ColumnElement[bool], ColumnElement[bool]]]:
    """The conditions of each run: IS, since a planner turns NOT round and finds it in no index."""
    return [
        (text(f"({name}.{UNFINISHED}) IS {is_unfinished}"), text(f"({name}.attempt = 0) IS {has_not_begun}"))  # type: ignore[misc]
        for is_unfinished in ("TRUE", "FALSE")
        for has_not_begun in ("TRUE", "FALSE")
    ]


def _order(column: ColumnElement[int], *, newest: bool) -> ColumnElement[int]:
    return column.desc() if newest else column
