"""Erasures that were asked for and do not come to their end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, literal, select, tuple_

from conversation.errors import ThreadHeld
from store.database.column_types import OurId, Time, clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Look, Scope
from store.erasure.steps import check_not_held
from store.erasure.unfinished import subject_of
from store.tables.retention import erasures

#: In which an erasure is finished, as a rule: the schedule takes up one that broke off within hours.
LONG = timedelta(days=1)
#: Erasures of one statement.
PAGE = 100

#: The last erasure of a page: when it was asked for, and its id.
Place = tuple[datetime, str]


def _find_unfinished(look: Look) -> Iterator[Finding]:
    after: Place | None = None
    while not look.is_over() and (rows := look.run(partial(_page, scope=look.scope, after=after))):
        for row in rows:
            held = look.run(partial(_held, row=row))
            # One that a hold stops goes on with nobody's help: it is told at once.
            if held is not None or row.now - row.requested_at > LONG:
                ids = {"tenant": row.tenant, "erasure": row.id, "subject": row.subject_sha256}
                asked = f"it was asked for at {row.requested_at:%Y-%m-%d %H:%M}, and is not finished"
                yield Finding(ids=ids, detail=f"{asked}: {held}" if held else asked, is_repairable=False)
        after = (rows[-1].requested_at, rows[-1].id)


def _page(connection: Connection, *, scope: Scope, after: Place | None) -> list[AnyRow]:
    place = erasures.c.requested_at, erasures.c.id
    statement = select(erasures, clock().label("now")).where(erasures.c.finished_at.is_(None))
    if scope.tenant is not None:
        statement = statement.where(erasures.c.tenant == scope.tenant)
    if after is not None:
        behind = literal(after[0], Time()), literal(after[1], OurId)
        statement = statement.where(tuple_(*place) > tuple_(*behind))
    return list(connection.execute(statement.order_by(*place).limit(PAGE)))


def _held(connection: Connection, *, row: AnyRow) -> str | None:
    """Which threads of it are under legal hold; None where none is."""
    try:
        check_not_held(connection, subject_of(row))
    except ThreadHeld as error:
        return str(error)
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        name="erasure-unfinished",
        means="an erasure was asked for more than a day ago and is not finished, or a legal hold stops it",
        advice="release the hold, or see in the log of the maintenance worker why it breaks off: "
        "retention goes on with it by itself",
        find=_find_unfinished,
    ),
)
