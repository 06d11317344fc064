"""One inspection of an installation: its scope, its deadline and its transactions.

What stays true: the bounds of an inspection are checked here, between two statements; and an
inspection that reached one says so.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, Connection, select, true

from store.audit import write_repair_row
from store.blobs import BlobStore
from store.database.engine import Database, Operation
from store.tables import threads

P = ParamSpec("P")
T = TypeVar("T")
#: The lowest and the highest key of a page of threads.
Keys = tuple[int, int]

#: Threads whose histories one statement reads.
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The part of the store that is inspected, and how old something has to be to count."""

    #: None inspects all of them.
    tenant: str | None = None
    #: Seconds in which workers and the sweep mend by themselves what is left behind by a dead process.
    older_than_seconds: float = 60
    #: Seconds after which a due turn that no worker claims is no longer just waiting behind others.
    unclaimed_seconds: float = 600
    #: Turns of one tenant that may run at once, so that others of it wait rightly; 0 means any number.
    tenant_max_running: int = 0
    #: Seconds in which a file that was just stored gets its row.
    upload_seconds: float = 5
    #: Findings of one check, at most.
    findings: int = 100
    #: Threads whose histories are read, the newest first.
    threads: int = 10_000
    #: Files that are compared with the file store, at most, for each tenant.
    objects: int = 100_000
    #: Seconds for all of it: what is begun is ended, nothing more is begun.
    seconds: float = 300

    def covers(self, tenant: ColumnElement[str]) -> ColumnElement[bool]:
        """Whether rows of a tenant are inspected, as a condition."""
        return true() if self.tenant is None else tenant == self.tenant


@dataclass(slots=True, kw_only=True)
class Inspection:
    """An inspection under way: where it reads, until when, and which bounds it reached."""

    database: Database
    files: BlobStore
    scope: Scope
    #: By the clock of `time.monotonic`.
    deadline: float
    #: The bounds that the present check reached: names of fields of the scope.
    bounds_reached: set[str] = field(default_factory=set)

    def is_over(self) -> bool:
        """Whether the deadline has passed; noted as a bound, because something is left out then."""
        is_over = time.monotonic() >= self.deadline
        if is_over:
            self.bounds_reached.add("seconds")
        return is_over

    def run(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `operation` in a short transaction of its own."""
        return self.database.run(operation, *args, **kwargs)

    def repair(self, check: str, ids: Mapping[str, Any], operation: Callable[[Connection], str | None]) -> str | None:
        """Run a repair, and enter its result in `audit` in the same transaction."""

        def repair_and_audit(connection: Connection) -> str | None:
            result = operation(connection)
            if result is not None and "tenant" in ids:
                write_repair_row(connection, f"doctor.{check}", {**ids, "done": result})
            return result

        return self.run(repair_and_audit)

    def read_pages(self) -> Iterator[Keys]:
        """Read the keys of threads in pages, the newest first, until a bound is reached."""
        remaining, before_key = self.scope.threads, None
        while remaining > 0:
            if self.is_over():
                return
            keys = self.run(_read_page, scope=self.scope, before=before_key, limit=min(PAGE, remaining))
            if not keys:
                return
            yield keys[-1], keys[0]
            remaining, before_key = remaining - len(keys), keys[-1]
        if self.run(_read_page, scope=self.scope, before=before_key, limit=1):
            self.bounds_reached.add("threads")


def _read_page(connection: Connection, *, scope: Scope, before: int | None, limit: int) -> list[int]:
    statement = select(threads.c.key).where(scope.covers(threads.c.tenant)).order_by(threads.c.key.desc()).limit(limit)
    if before is not None:
        statement = statement.where(threads.c.key < before)
    return list(connection.execute(statement).scalars())
