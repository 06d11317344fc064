"""Finding threads: listings by cursor, and filters.

What stays true: a listing never loads messages; a page costs the same wherever it begins; a tenant
sees its own threads only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, Select, Text, TextClause, func, literal, select, tuple_
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB

from conversation.arguments import check_one_of, check_whole_number
from conversation.cursor import read_cursor, write_cursor
from conversation.errors import InvalidInput
from conversation.thread import TITLE_MAX_CHARS, Thread
from conversation.validation import check_id, check_metadata, check_moment, check_tenant, check_text
from store.database.json_equality import metadata_has
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.tables import threads
from store.threads.branch_rows import is_first
from store.threads.repository import thread_from_row

Condition = ColumnElement[bool] | TextClause
Order = Literal["created", "updated"]
ORDERS = get_args(Order)

#: Keys of metadata that a listing is filtered by, at most: each is a condition, and SQLite nests them.
METADATA_KEYS_MAX = 100
#: Threads of one page, at most.
PAGE_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadFilter:
    """The conditions that the threads of a listing meet."""

    tenant: str = "default"
    #: The user whose threads they are.
    user: str | None = None
    #: The thread's metadata has each of these values under its key.
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


@read_only
def list_threads(
    connection: Connection,
    filters: ThreadFilter,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    order: Order = "created",
) -> ThreadPage:
    """List threads, the newest first. Without a limit: all of them, in one listing.

    In the order in which they were `created`, every thread that was there at the first page comes
    once, whoever writes meanwhile. In the order in which they were `updated`, one that is written
    to while you page goes to the front: it can be missed.
    """
    rows, next_cursor = list_rows(connection, select(threads), filters, limit=limit, cursor=cursor, order=order)
    page = ThreadPage(thread_from_row(row) for row in rows)
    page.next_cursor = next_cursor
    return page


def list_rows(
    connection: Connection,
    selected: Select[Any],
    filters: ThreadFilter,
    *,
    limit: int | None,
    cursor: str | None,
    order: Order,
) -> tuple[Sequence[AnyRow], str | None]:
    """The rows of a page of a listing, with all columns of threads among those selected, and its next cursor."""
    check_one_of("order", order, ORDERS)
    by_update = order == "updated"
    sort_columns = [threads.c.updated_at, threads.c.key] if by_update else [threads.c.key]
    # The index has the periods: the threads of one are sorted each time, and no more than these.
    indexed_columns = [threads.c.updated_period] if by_update else []
    statement = apply_filters(connection, selected, filters)
    statement = statement.order_by(*(column.desc() for column in (*indexed_columns, *sort_columns)))
    if by_update:
        statement = statement.where(threads.c.updated_period.is_not(None))
    if cursor is not None:
        kinds = [datetime, int] if by_update else [int]
        fix = "pass next_cursor of the page before, and the same order"
        cursor_values = zip(read_cursor(cursor, kinds, fix=fix), sort_columns, strict=True)
        values = [literal(value, column.type) for value, column in cursor_values]
        statement = statement.where(tuple_(*sort_columns) < tuple_(*values))
        if by_update:
            statement = statement.where(threads.c.updated_period <= values[0])
    if limit is not None:
        limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
        # One more, to know whether another page follows.
        statement = statement.limit(limit + 1)
    rows = connection.execute(statement).all()
    if limit is None or len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], write_cursor(last.updated_at, last.key) if by_update else write_cursor(last.key)


@read_only
def count(connection: Connection, filters: ThreadFilter) -> int:
    """Count the threads that a listing would show."""
    statement = apply_filters(connection, select(func.count()).select_from(threads), filters)
    return int(connection.execute(statement).scalar_one())


def apply_filters(connection: Connection, statement: Select[Any], filters: ThreadFilter) -> Select[Any]:
    """Add the conditions of a filter to a statement over threads."""
    # By its first row: what its branches have in common stands there, too. Not those in which agents answer others.
    conditions: list[Condition] = [threads.c.tenant == check_tenant(filters.tenant), is_first()]
    conditions.append(threads.c.begun_in.is_(None))
    if filters.user is not None:
        conditions.append(threads.c.owner == check_id("user", filters.user))
    if filters.title is not None:
        title = check_text("title", filters.title, max_chars=TITLE_MAX_CHARS)
        conditions.append(threads.c.title.icontains(title, autoescape=True))
    metadata = check_metadata("metadata", filters.metadata)
    if len(metadata) > METADATA_KEYS_MAX:
        raise InvalidInput("metadata", f"has {len(metadata)} keys", f"at most {METADATA_KEYS_MAX} fit in a filter")
    for key, value in metadata.items():
        conditions.append(_has_metadata(connection, key, value))
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


def _has_metadata(connection: Connection, key: str, value: Any) -> Condition:
    if connection.dialect.name == "postgresql":
        stored_value = threads.c.metadata.op("->")(sql_cast(key, Text))
        return stored_value.bool_op("=")(sql_cast(literal(value, JSONB(none_as_null=False)), JSONB))
    return metadata_has(key, value)
