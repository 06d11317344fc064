"""One look at an installation: which part of it, until when, and with which transactions.

What stays true: the bounds of a look are kept by asking here, between two statements; and a look that
was cut short says so.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select

from store.blobs import BlobStore
from store.database.column_types import clock
from store.database.engine import Database
from store.tables import audit, threads

T = TypeVar("T")
#: The lowest and the highest key of a page of threads.
Keys = tuple[int, int]

#: Threads whose histories one statement reads.
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What part of the store is looked at, and how old something has to be to count."""

    #: None looks at all of them.
    tenant: str | None = None
    #: Seconds in which workers and the sweep mend by themselves what is left behind by a dead process.
    older_than_seconds: float = 60
    #: Seconds after which a due turn that nobody claims is no longer just waiting for its turn.
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


@dataclass(slots=True, kw_only=True)
class Look:
    """Where to look, and how far it got."""

    database: Database
    files: BlobStore
    scope: Scope
    #: By the clock of `time.monotonic`.
    until: float
    #: Which bounds cut the check short that is at work: names of fields of the scope.
    cut_by: set[str] = field(default_factory=set)

    def is_over(self) -> bool:
        """Whether the time is over; noted, because something is left out then."""
        over = time.monotonic() >= self.until
        if over:
            self.cut_by.add("seconds")
        return over

    def run(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` in a short transaction of its own."""
        return self.database.run(operation)

    def mend(
        self, check: str, ids: Mapping[str, Any], operation: Callable[[Connection], str | None]
    ) -> str | None:
        """Run a repair; what it did is entered in `audit` by the same transaction."""

        def mended(connection: Connection) -> str | None:
            done = operation(connection)
            if done is not None and "tenant" in ids:
                connection.execute(
                    insert(audit).values(
                        tenant=ids["tenant"],
                        thread_id=ids.get("thread"),
                        action=f"doctor.{check}",
                        details={**ids, "done": done},
                        created_at=clock(),
                    )
                )
            return done

        return self.run(mended)

    def pages(self) -> Iterator[Keys]:
        """The threads in pages, the newest first, until a bound is met."""
        left, before = self.scope.threads, None
        while left > 0:
            if self.is_over():
                return
            keys = self.run(partial(_page, tenant=self.scope.tenant, before=before, limit=min(PAGE, left)))
            if not keys:
                return
            yield keys[-1], keys[0]
            left, before = left - len(keys), keys[-1]
        if self.run(partial(_page, tenant=self.scope.tenant, before=before, limit=1)):
            self.cut_by.add("threads")


def _page(connection: Connection, *, tenant: str | None, before: int | None, limit: int) -> list[int]:
    statement = select(threads.c.key).order_by(threads.c.key.desc()).limit(limit)
    if tenant is not None:
        statement = statement.where(threads.c.tenant == tenant)
    if before is not None:
        statement = statement.where(threads.c.key < before)
    return list(connection.execute(statement).scalars())
