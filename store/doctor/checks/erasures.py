"""Erasures that were asked for and do not come to their end."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, literal, select, tuple_

from conversation.errors import ThreadUnderLegalHold
from store.database.column_types import OurId, Time, clock
from store.database.statements import AnyRow
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Inspection, Scope
from store.erasure.steps import check_not_held
from store.erasure.unfinished import subject_of
from store.tables.retention import erasures

#: The time in which an erasure is finished, as a rule: the schedule takes up one that broke off within hours.
OVERDUE_AFTER = timedelta(days=1)
#: Erasures of one statement.
PAGE = 100

#: The last erasure of a page: when it was asked for, and its id.
Cursor = tuple[datetime, str]


def _find_unfinished(inspection: Inspection) -> Iterator[Finding]:
    after: Cursor | None = None
    while not inspection.is_over() and (rows := inspection.run(_read_page, scope=inspection.scope, after=after)):
        for row in rows:
            hold = inspection.run(_describe_hold, row=row)
            # An erasure that a hold stops does not go on by itself: it is reported at once.
            if hold is not None or row.now - row.requested_at > OVERDUE_AFTER:
                ids = {"tenant": row.tenant, "erasure": row.id, "subject": row.subject_sha256}
                detail = f"it was asked for at {row.requested_at:%Y-%m-%d %H:%M}, and is not finished"
                yield Finding(ids=ids, detail=f"{detail}: {hold}" if hold else detail, is_repairable=False)
        after = (rows[-1].requested_at, rows[-1].id)


def _read_page(connection: Connection, *, scope: Scope, after: Cursor | None) -> list[AnyRow]:
    sort_columns = erasures.c.requested_at, erasures.c.id
    is_unfinished = erasures.c.finished_at.is_(None) & scope.covers(erasures.c.tenant)
    statement = select(erasures, clock().label("now")).where(is_unfinished)
    if after is not None:
        cursor_values = literal(after[0], Time()), literal(after[1], OurId)
        statement = statement.where(tuple_(*sort_columns) > tuple_(*cursor_values))
    return list(connection.execute(statement.order_by(*sort_columns).limit(PAGE)))


def _describe_hold(connection: Connection, *, row: AnyRow) -> str | None:
    """The threads of an erasure that are under legal hold, as a text; None where none is."""
    try:
        check_not_held(connection, subject_of(row))
    except ThreadUnderLegalHold as error:
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
