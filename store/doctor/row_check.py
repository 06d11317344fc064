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
from store.doctor.inspection import Inspection, Keys, Scope
from store.tables import threads


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCheck:
    """How the rows of a check are found, reported and repaired."""

    #: Builds the statement that finds them. It joins `threads`, and selects its key as `key`.
    select_rows: Callable[[Connection, Scope], Select[Any]]
    #: Identifies one row among those of its thread: a name in the row, and the column behind it.
    identity: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    report: Callable[[AnyRow], Finding]
    #: Returns what it did. Runs under the lock, on the row as it is then.
    repair: Callable[[Connection, AnyRow], str] | None = None
    #: It reads histories: page by page, within the bounds of the inspection.
    reads_histories: bool = False


def build_check(name: str, check: RowCheck, *, means: str, advice: str) -> Check:
    """Build a check whose findings are the rows of one statement."""
    return Check(
        name=name,
        means=means,
        advice=advice,
        find=partial(_find, check),
        repair=None if check.repair is None else partial(_repair, name, check),
    )


def thread_ids(row: AnyRow) -> dict[str, Any]:
    """The ids of a row's thread, as users know it."""
    return {"tenant": row.tenant, "thread": row.thread_id}


def thread_columns() -> tuple[ColumnElement[Any], ...]:
    """The columns by which a row is reported and found again."""
    return threads.c.key, threads.c.tenant, threads.c.id.label("thread_id")


def _find(check: RowCheck, inspection: Inspection) -> Iterator[Finding]:
    pages: Iterator[Keys | None] = inspection.read_pages() if check.reads_histories else iter([None])
    for keys in pages:
        yield from map(check.report, inspection.run(_read_rows, check=check, scope=inspection.scope, keys=keys))


def _read_rows(connection: Connection, *, check: RowCheck, scope: Scope, keys: Keys | None) -> list[AnyRow]:
    statement = check.select_rows(connection, scope)
    if scope.tenant is not None:
        statement = statement.where(threads.c.tenant == scope.tenant)
    if keys is not None:
        statement = statement.where(threads.c.key.between(*keys))
    # One more than is reported: then it is known that there are more.
    statement = statement.order_by(threads.c.key, *check.identity.values()).limit(scope.findings + 1)
    return list(connection.execute(statement))


def _repair(name: str, check: RowCheck, inspection: Inspection, finding: Finding) -> str | None:
    return inspection.repair(
        name, finding.ids, partial(_repair_row, check=check, scope=inspection.scope, row=finding.row)
    )


def _repair_row(connection: Connection, *, check: RowCheck, scope: Scope, row: AnyRow | None) -> str | None:
    assert check.repair is not None
    assert row is not None
    lock = select(threads.c.key).where(threads.c.key == row.key).with_for_update(key_share=True)
    connection.execute(lock)
    statement = check.select_rows(connection, scope).where(
        threads.c.key == row.key, *(column == getattr(row, name) for name, column in check.identity.items())
    )
    current_row = connection.execute(statement).first()
    if current_row is None or not check.report(current_row).is_repairable:
        return None
    return check.repair(connection, current_row)
