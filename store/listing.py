"""Finding threads and messages: listings by cursor, full-text search, counts.

What stays true: a listing never loads messages; a page costs the same wherever it begins; a tenant
sees its own threads only.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB

from conversation.checks import check_metadata
from conversation.errors import InvalidInput
from conversation.thread import Thread
from store.statements import AnyRow
from store.tables import blobs, messages, threads, turns
from store.threads import described

#: Threads of one page, at most.
PAGE_MAX = 1_000
#: Hits of one search, at most.
HITS_MAX = 200
#: The message text that the index reads; see the index in `tables`.
SEARCHED = func.left(messages.c.content, literal_column("100000"))
#: What a highlight is put between.
MARKS = ("**", "**")


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
class Hit:
    """A message that a search found."""

    thread_id: str
    message_id: str
    seq: int
    role: str
    #: Higher is better; comparable within one search only.
    rank: float
    #: The passage, with the words that were found between `**`.
    highlight: str


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
    connection: Connection, filters: ThreadFilter, *, limit: int | None = None, cursor: str | None = None
) -> ThreadPage:
    """Threads that were updated last come first. Without a limit: all of them, in one listing."""
    statement = _filtered(connection, select(threads), filters)
    if cursor is not None:
        updated_at, key = _read_cursor(cursor)
        statement = statement.where(
            or_(
                threads.c.updated_at < updated_at,
                and_(threads.c.updated_at == updated_at, threads.c.key < key),
            )
        )
    statement = statement.order_by(threads.c.updated_at.desc(), threads.c.key.desc())
    if limit is not None:
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput("limit", f"is {limit}", f"pass 1 to {PAGE_MAX}")
        statement = statement.limit(limit + 1)
    rows = connection.execute(statement).all()
    page = ThreadPage(described(row) for row in rows[:limit])
    if limit is not None and len(rows) > limit:
        page.next_cursor = _cursor(rows[limit - 1])
    return page


def count(connection: Connection, filters: ThreadFilter) -> int:
    """How many threads a listing would show."""
    counted = _filtered(connection, select(func.count()).select_from(threads), filters)
    return int(connection.execute(counted).scalar_one())


def search_messages(
    connection: Connection, query: str, *, tenant: str = "default", limit: int = 20
) -> list[Hit]:
    """Messages with the words of `query`, best first: as in a web search, `"a phrase"`, `or`, `-not`.

    The first 100,000 characters of each message are searched, in any language, without stemming.
    """
    if not 1 <= limit <= HITS_MAX:
        raise InvalidInput("limit", f"is {limit}", f"pass 1 to {HITS_MAX}")
    if not query.strip() or "\x00" in query:
        raise InvalidInput("query", "has no words", "pass the words to look for")
    if connection.dialect.name == "sqlite":
        return _search_sqlite(connection, query, tenant, limit)
    words = func.websearch_to_tsquery(literal_column("'simple'"), query)
    document = func.to_tsvector(literal_column("'simple'"), SEARCHED)
    marks = f"StartSel={MARKS[0]}, StopSel={MARKS[1]}, MaxFragments=2, MaxWords=20, MinWords=5"
    rank = func.ts_rank_cd(document, words).label("rank")
    found = (
        select(
            threads.c.id.label("thread_id"),
            messages.c.id,
            messages.c.seq,
            messages.c.role,
            messages.c.content,
            rank,
        )
        .join(threads, messages.c.thread_key == threads.c.key)
        .where(threads.c.tenant == tenant, document.bool_op("@@")(words))
        .order_by(rank.desc(), messages.c.created_at.desc(), messages.c.seq.desc())
        .limit(limit)
        .subquery()
    )
    # Only what is shown is highlighted: that reads the whole text.
    shown = func.ts_headline(literal_column("'simple'"), func.left(found.c.content, 100_000), words, marks)
    rows = connection.execute(select(*found.c, shown.label("highlight")).order_by(found.c.rank.desc()))
    return [Hit(r.thread_id, r.id, r.seq, r.role, float(r.rank), r.highlight) for r in rows]


def stats(connection: Connection, tenant: str = "default") -> Stats:
    """Counts of everything that a tenant has."""
    of_tenant = threads.c.tenant == tenant
    by_state = select(turns.c.state, func.count()).where(turns.c.tenant == tenant).group_by(turns.c.state)
    stored = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).where(blobs.c.tenant == tenant)
    files, size = connection.execute(stored).one()
    joined = messages.join(threads, messages.c.thread_key == threads.c.key)
    return Stats(
        threads=int(
            connection.execute(select(func.count()).select_from(threads).where(of_tenant)).scalar_one()
        ),
        messages=int(
            connection.execute(select(func.count()).select_from(joined).where(of_tenant)).scalar_one()
        ),
        turns={row[0]: row[1] for row in connection.execute(by_state)},
        blobs=int(files),
        blob_bytes=int(size),
    )


def _filtered(connection: Connection, statement: Select[Any], filters: ThreadFilter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = [threads.c.tenant == filters.tenant]
    if filters.title is not None:
        conditions.append(threads.c.title.icontains(filters.title, autoescape=True))
    for key, value in check_metadata("metadata", filters.metadata).items():
        conditions.append(_has(connection, key, value))
    bounds = [
        (filters.updated_before, threads.c.updated_at.__lt__),
        (filters.updated_after, threads.c.updated_at.__gt__),
        (filters.created_before, threads.c.created_at.__lt__),
        (filters.created_after, threads.c.created_at.__gt__),
    ]
    conditions += [compare(moment) for moment, compare in bounds if moment is not None]
    return statement.where(*conditions)


def _has(connection: Connection, key: str, value: Any) -> ColumnElement[bool]:
    if connection.dialect.name == "postgresql":
        return threads.c.metadata.op("@>")(sql_cast(literal({key: value}, JSONB), JSONB))
    # JSON text of both sides: true stays apart from 1, and a list from a text.
    path = "$." + json.dumps(key)
    return func.json_extract(threads.c.metadata, path, type_=None) == func.json_extract(
        literal(json.dumps({key: value})), path
    )


def _search_sqlite(connection: Connection, query: str, tenant: str, limit: int) -> list[Hit]:
    statement = text(
        "SELECT threads.id AS thread_id, messages.id, messages.seq, messages.role, "
        "-bm25(messages_search) AS rank, "
        "snippet(messages_search, 0, :start, :stop, '…', 30) AS highlight "
        "FROM messages_search JOIN messages ON messages.rowid = messages_search.rowid "
        "JOIN threads ON threads.key = messages.thread_key "
        "WHERE messages_search MATCH :query AND threads.tenant = :tenant "
        "ORDER BY rank DESC, messages.created_at DESC, messages.seq DESC LIMIT :limit"
    )
    values = {"query": _fts5(query), "tenant": tenant, "limit": limit, "start": MARKS[0], "stop": MARKS[1]}
    rows = connection.execute(statement, values)
    return [Hit(r.thread_id, r.id, r.seq, r.role, float(r.rank), r.highlight) for r in rows]


def _fts5(query: str) -> str:
    """A web search in the words of FTS5: each word quoted, so that none of them is an operator of its own."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for word in _words(query):
        if word.lower() == "or" and wanted:
            wanted.append("OR")
        elif word.startswith("-") and len(word) > 1:
            unwanted.append(_quoted(word[1:]))
        elif word.lower() != "or":
            wanted.append(_quoted(word))
    while wanted and wanted[-1] == "OR":
        wanted.pop()
    if not wanted:
        raise InvalidInput("query", "has only words to leave out", "add a word to look for")
    asked = " ".join(wanted)
    return f"({asked})" + "".join(f" NOT {word}" for word in unwanted)


def _words(query: str) -> Sequence[str]:
    """The words of a query; what stands between two double quotes is one."""
    parts = query.split('"')
    words: list[str] = []
    for index, part in enumerate(parts):
        words += [part] if index % 2 and part.strip() else part.split()
    return words


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _cursor(row: AnyRow) -> str:
    place = json.dumps([row.updated_at.isoformat(), row.key])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        moment, key = json.loads(base64.urlsafe_b64decode(padded))
        return datetime.fromisoformat(moment), int(key)
    except (ValueError, TypeError, binascii.Error):
        raise InvalidInput("cursor", "is none of ours", "pass next_cursor of the page before") from None
