"""Checks whose findings are the rows of one statement.

What stays true: the statement that found a row finds it again, alone, under the lock of its thread,
before anything is written; the lock is taken in a statement of its own, because an older snapshot
would miss what its last holder committed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Keys, Look, Scope
from store.tables import threads


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCheck:
    """How rows are found, told and mended."""

    #: Given the connection and the scope: what finds them. It joins `threads`, and selects its key as `key`.
    rows: Callable[[Connection, Scope], Select[Any]]
    #: What names one row among those of its thread: a name in the row, and the column behind it.
    same: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    tell: Callable[[AnyRow], Finding]
    #: Says what it did. Runs under the lock, on the row as it is then.
    mend: Callable[[Connection, AnyRow], str] | None = None
    #: It reads histories: page by page, within the bounds of the look.
    reads_histories: bool = False


def of_rows(name: str, check: RowCheck, *, means: str, advice: str) -> Check:
    """The check of this name."""
    return Check(
        name=name,
        means=means,
        advice=advice,
        find=partial(_find, check),
        repair=None if check.mend is None else partial(_repair, name, check),
    )


def thread_ids(row: AnyRow) -> dict[str, Any]:
    """The ids of a row's thread, as users know it."""
    return {"tenant": row.tenant, "thread": row.thread_id}


def of_thread() -> tuple[ColumnElement[Any], ...]:
    """The columns by which a row is told and found again."""
    return threads.c.key, threads.c.tenant, threads.c.id.label("thread_id")


def _find(check: RowCheck, look: Look) -> Iterator[Finding]:
    pages: Iterator[Keys | None] = look.pages() if check.reads_histories else iter([None])
    for keys in pages:
        yield from map(check.tell, look.run(partial(_rows, check=check, scope=look.scope, keys=keys)))


def _rows(connection: Connection, *, check: RowCheck, scope: Scope, keys: Keys | None) -> list[AnyRow]:
    statement = check.rows(connection, scope)
    if scope.tenant is not None:
        statement = statement.where(threads.c.tenant == scope.tenant)
    if keys is not None:
        statement = statement.where(threads.c.key.between(*keys))
    # One more than is told: then it is known that there are more.
    statement = statement.order_by(threads.c.key, *check.same.values()).limit(scope.findings + 1)
    return list(connection.execute(statement))


def _repair(name: str, check: RowCheck, look: Look, finding: Finding) -> str | None:
    return look.mend(name, finding.ids, partial(_mend, check=check, scope=look.scope, row=finding.row))


def _mend(connection: Connection, *, check: RowCheck, scope: Scope, row: AnyRow | None) -> str | None:
    assert check.mend is not None
    assert row is not None
    lock = select(threads.c.key).where(threads.c.key == row.key).with_for_update(key_share=True)
    connection.execute(lock)
    again = check.rows(connection, scope).where(
        threads.c.key == row.key,
        *(column == getattr(row, name) for name, column in check.same.items()),
    )
    found = connection.execute(again).first()
    if found is None or not check.tell(found).is_repairable:
        return None
    return check.mend(connection, found)
