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
    """A check whose findings are the rows of one statement."""

    #: As in `Check`.
    name: str
    means: str
    advice: str
    #: Builds the statement that finds them. It joins `threads`, and selects its key as `key`.
    select_rows: Callable[[Connection, Scope], Select[Any]]
    #: Identifies one row among those of its thread: a name in the row, and the column behind it.
    identity: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    report: Callable[[AnyRow], Finding]
    #: Returns what it did. Runs under the lock, on the row as it is then.
    repair: Callable[[Connection, AnyRow], str] | None = None
    #: It reads histories: page by page, within the bounds of the inspection.
    reads_histories: bool = False

    def build(self) -> Check:
        """Build the check."""
        repair = None if self.repair is None else self._repair
        return Check(name=self.name, means=self.means, advice=self.advice, find=self._find, repair=repair)

    def _find(self, inspection: Inspection) -> Iterator[Finding]:
        pages: Iterator[Keys | None] = inspection.read_pages() if self.reads_histories else iter([None])
        for keys in pages:
            yield from map(self.report, inspection.run(self._read_rows, scope=inspection.scope, keys=keys))

    def _read_rows(self, connection: Connection, *, scope: Scope, keys: Keys | None) -> list[AnyRow]:
        statement = self.select_rows(connection, scope).where(scope.covers(threads.c.tenant))
        if keys is not None:
            statement = statement.where(threads.c.key.between(*keys))
        # One more than is reported: then it is known that there are more.
        statement = statement.order_by(threads.c.key, *self.identity.values()).limit(scope.findings + 1)
        return list(connection.execute(statement))

    def _repair(self, inspection: Inspection, finding: Finding) -> str | None:
        repair_row = partial(self._repair_row, scope=inspection.scope, row=finding.row)
        return inspection.repair(self.name, finding.ids, repair_row)

    def _repair_row(self, connection: Connection, *, scope: Scope, row: AnyRow | None) -> str | None:
        assert self.repair is not None
        assert row is not None
        connection.execute(select(threads.c.key).where(threads.c.key == row.key).with_for_update(key_share=True))
        is_same_row = (column == getattr(row, name) for name, column in self.identity.items())
        statement = self.select_rows(connection, scope).where(threads.c.key == row.key, *is_same_row)
        current_row = connection.execute(statement).first()
        if current_row is None or not self.report(current_row).is_repairable:
            return None
        return self.repair(connection, current_row)


def thread_ids(row: AnyRow) -> dict[str, Any]:
    """The ids of a row's thread, as users know it."""
    return {"tenant": row.tenant, "thread": row.thread_id}


def thread_columns() -> tuple[ColumnElement[Any], ...]:
    """The columns by which a row is reported and found again."""
    return threads.c.key, threads.c.tenant, threads.c.id.label("thread_id")


def report_row(row: AnyRow, detail: str, *, is_repairable: bool = False, **ids: Any) -> Finding:
    """Report a row by its thread, and by those of `ids` that it has."""
    own_ids = {name: value for name, value in ids.items() if value is not None}
    return Finding(ids=thread_ids(row) | own_ids, detail=detail, is_repairable=is_repairable, row=row)
