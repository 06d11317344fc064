"""Finding threads: listings by cursor, filters, counts.

What stays true: a listing never loads messages; a page costs the same wherever it begins; a tenant
sees its own threads only.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, Text, TextClause, func, literal, select, tuple_
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB

from conversation.errors import InvalidInput
from conversation.thread import TITLE_MAX_CHARS, Thread
from conversation.validation import check_metadata, check_moment, check_tenant, check_text
from store.database.json_equality import metadata_has
from store.database.statements import AnyRow
from store.tables import blobs, messages, threads, turns
from store.threads.repository import described

Condition = ColumnElement[bool] | TextClause
Order = Literal["created", "updated"]

#: Threads of one page, at most.
PAGE_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadFilter:
    """Which threads a listing shows."""

    tenant: str = "default"
    #: Every one of these keys has this value.
    metadata: Mapping[str, Any] | None = None
    #: Part of the title, whatever the case.
    title: str | None = None
    updated_before: datetime | None = None
    updated_after: datetime | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None


class ThreadPage(list[Thread]):
    """Threads without their messages, newest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """What is stored for a tenant."""

    threads: int
    messages: int
    turns: Mapping[str, int]
    blobs: int
    #: In bytes, each blob once.
    blob_bytes: int


def list_threads(
    connection: Connection,
    filters: ThreadFilter,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    order: Order = "created",
) -> ThreadPage:
    """The newest threads first. Without a limit: all of them, in one listing.

    In the order in which they were `created`, every thread that was there at the first page comes
    once, whoever writes meanwhile. In the order in which they were `updated`, one that is written
    to while you page goes to the front: it can be missed.
    """
    if order not in ("created", "updated"):
        raise InvalidInput("order", f"is {order!r}", "use created or updated")
    statement = _filtered(connection, select(threads), filters)
    place = [threads.c.updated_at, threads.c.key] if order == "updated" else [threads.c.key]
    if cursor is not None:
        after = _read_cursor(cursor, order)
        values = [literal(value, column.type) for value, column in zip(after, place, strict=True)]
        statement = statement.where(tuple_(*place) < tuple_(*values))
    statement = statement.order_by(*(column.desc() for column in place))
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= PAGE_MAX:
            raise InvalidInput("limit", f"is {limit}", f"pass 1 to {PAGE_MAX}")
        statement = statement.limit(limit + 1)
    rows = connection.execute(statement).all()
    page = ThreadPage(described(row) for row in rows[:limit])
    if limit is not None and len(rows) > limit:
        page.next_cursor = _cursor(rows[limit - 1], order)
    return page


def count(connection: Connection, filters: ThreadFilter) -> int:
    """How many threads a listing would show."""
    counted = _filtered(connection, select(func.count()).select_from(threads), filters)
    return int(connection.execute(counted).scalar_one())


def stats(connection: Connection, tenant: str = "default") -> Stats:
    """Counts of everything that a tenant has."""
    of_tenant = threads.c.tenant == tenant
    by_state = select(turns.c.state, func.count()).where(turns.c.tenant == tenant).group_by(turns.c.state)
    stored = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).where(blobs.c.tenant == tenant)
    files, size = connection.execute(stored).one()
    is_kept = messages.c.seq > threads.c.retention_cut
    joined = messages.join(threads, messages.c.thread_key == threads.c.key)
    return Stats(
        threads=int(
            connection.execute(select(func.count()).select_from(threads).where(of_tenant)).scalar_one()
        ),
        messages=int(
            connection.execute(
                select(func.count()).select_from(joined).where(of_tenant, is_kept)
            ).scalar_one()
        ),
        turns={row[0]: row[1] for row in connection.execute(by_state)},
        blobs=int(files),
        blob_bytes=int(size),
    )


def _filtered(connection: Connection, statement: Select[Any], filters: ThreadFilter) -> Select[Any]:
    conditions: list[Condition] = [threads.c.tenant == check_tenant(filters.tenant)]
    if filters.title is not None:
        wanted = check_text("title", filters.title, max_chars=TITLE_MAX_CHARS)
        conditions.append(threads.c.title.icontains(wanted, autoescape=True))
    for key, value in check_metadata("metadata", filters.metadata).items():
        conditions.append(_has(connection, key, value))
    bounds = {
        "updated_before": threads.c.updated_at.__lt__,
        "updated_after": threads.c.updated_at.__gt__,
        "created_before": threads.c.created_at.__lt__,
        "created_after": threads.c.created_at.__gt__,
    }
    for name, compare in bounds.items():
        moment = getattr(filters, name)
        if moment is not None:
            conditions.append(compare(check_moment(name, moment)))
    return statement.where(*conditions)


def _has(connection: Connection, key: str, value: Any) -> Condition:
    if connection.dialect.name == "postgresql":
        stored = threads.c.metadata.op("->")(sql_cast(key, Text))
        return stored.bool_op("=")(sql_cast(literal(value, JSONB(none_as_null=False)), JSONB))
    return metadata_has(key, value)


def _cursor(row: AnyRow, order: Order) -> str:
    place = [row.updated_at.isoformat(), row.key] if order == "updated" else [row.key]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, order: Order) -> list[datetime | int]:
    """The place behind which the next page begins."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        *moment, key = json.loads(base64.urlsafe_b64decode(padded))
        after = [check_moment("cursor", datetime.fromisoformat(text)) for text in moment]
    except (ValueError, TypeError, binascii.Error):
        after, key = [], None
    if len(after) != (order == "updated") or type(key) is not int or not 0 < key < 2**63:
        fix = "pass next_cursor of the page before, and the same order"
        raise InvalidInput("cursor", "is none of ours", fix)
    return [*after, key]
