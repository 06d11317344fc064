"""Archives of what retention deleted, and their objects in the file store.

What stays true: rows are compared with one listing; what it misses is asked for by its name before it
is told.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from sqlalchemy import ColumnElement, Connection, select, true

from store.database.statements import AnyRow
from store.doctor.checks.files import PAGE, side_by_side
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Look, Scope
from store.tables.retention import ARCHIVES, archives


def _find_without_object(look: Look) -> Iterator[Finding]:
    if next(_hashes(look), None) is None:
        # Most installations archive nothing: theirs is not listed.
        return
    compared = side_by_side(look, ARCHIVES, _hashes(look))
    alone = (sha256 for sha256, sides in compared if sides == {"row"})
    while batch := list(islice(alone, PAGE)):
        missing = [sha256 for sha256 in batch if not look.files.exists(ARCHIVES, sha256)]
        for row in look.run(partial(_still_stored, scope=look.scope, hashes=missing)):
            ids = {"tenant": row.tenant, "archive": row.key, "thread": row.thread_sha256}
            yield Finding(ids=ids, detail=f"{row.messages} messages are lost with it", is_repairable=False)


def _hashes(look: Look) -> Iterator[str]:
    after = ""
    while page := look.run(partial(_page, scope=look.scope, after=after)):
        yield from page
        after = page[-1]


def _page(connection: Connection, *, scope: Scope, after: str) -> list[str]:
    page = select(archives.c.sha256).where(_is_stored(scope), archives.c.sha256 > after)
    return list(connection.execute(page.order_by(archives.c.sha256).limit(PAGE)).scalars())


def _still_stored(connection: Connection, *, scope: Scope, hashes: Sequence[str]) -> Sequence[AnyRow]:
    """Those that nobody has erased meanwhile: their objects go before their rows."""
    named = select(archives).where(_is_stored(scope), archives.c.sha256.in_(hashes))
    return connection.execute(named.order_by(archives.c.key)).all()


def _is_stored(scope: Scope) -> ColumnElement[bool]:
    """One that is being written may have its object later."""
    of_tenant = true() if scope.tenant is None else archives.c.tenant == scope.tenant
    return (archives.c.state == "stored") & of_tenant


CHECKS: tuple[Check, ...] = (
    Check(
        name="archive-without-object",
        means="what retention archived before it deleted it is not in the file store",
        advice="restore the object from a backup; there is no other copy of these messages",
        find=_find_without_object,
    ),
)
