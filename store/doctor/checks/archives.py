"""Archives of what retention deleted, and their objects in the file store.

What stays true: rows are compared with one listing; an object that it misses is asked for by its name
before it is reported.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from sqlalchemy import ColumnElement, Connection, select

from store.database.statements import AnyRow
from store.doctor.checks.files import PAGE, compare_sides
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope
from store.tables.retention import ARCHIVES, archives


def _find_without_object(inspection: Inspection) -> Iterator[Finding]:
    if next(_read_hashes(inspection), None) is None:
        # Most installations archive nothing: their file store is not listed.
        return
    comparison = compare_sides(inspection, ARCHIVES, _read_hashes(inspection))
    lone_hashes = (sha256 for sha256, sides in comparison if sides == {"row"})
    while batch := list(islice(lone_hashes, PAGE)):
        missing_hashes = [sha256 for sha256 in batch if not inspection.files.exists(ARCHIVES, sha256)]
        for row in inspection.run(_read_still_stored, scope=inspection.scope, hashes=missing_hashes):
            ids = {"tenant": row.tenant, "archive": row.key, "thread": row.thread_sha256}
            yield Finding(ids=ids, detail=f"{row.messages} messages are lost with it", is_repairable=False)


def _read_hashes(inspection: Inspection) -> Iterator[str]:
    after = ""
    while page := inspection.run(_read_page, scope=inspection.scope, after=after):
        yield from page
        after = page[-1]


def _read_page(connection: Connection, *, scope: Scope, after: str) -> list[str]:
    statement = select(archives.c.sha256).where(_is_stored(scope), archives.c.sha256 > after)
    return list(connection.execute(statement.order_by(archives.c.sha256).limit(PAGE)).scalars())


def _read_still_stored(connection: Connection, *, scope: Scope, hashes: Sequence[str]) -> Sequence[AnyRow]:
    """Read the rows that were not erased meanwhile: an erasure deletes objects before rows."""
    statement = select(archives).where(_is_stored(scope), archives.c.sha256.in_(hashes))
    return connection.execute(statement.order_by(archives.c.key)).all()


def _is_stored(scope: Scope) -> ColumnElement[bool]:
    """Whether an archive is stored: one that is being written may have its object later."""
    return (archives.c.state == "stored") & scope.covers(archives.c.tenant)


CHECKS: tuple[Check, ...] = (
    Check(
        name="archive-without-object",
        means="what retention archived before it deleted it is not in the file store",
        advice="restore the object from a backup; there is no other copy of these messages",
        find=_find_without_object,
    ),
)
