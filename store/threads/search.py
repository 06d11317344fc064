"""Searching messages: PostgreSQL's full-text search, SQLite's FTS5, in one language of queries.

What stays true: a query is words, `"a phrase"`, `or` and `-not`, and never an error of SQL's; a
tenant finds its own messages only. A message that branches or forks share is found once: in the row with
which it is stored, or in one that shares it, where that one does not show it or is another user's.

Words are found as they are written, in any language, whatever their case: nothing is stemmed. On
SQLite an accent makes no difference, on PostgreSQL it does. A language written without spaces is
found by whole passages between spaces and punctuation marks, not by the words inside them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, column, func, literal_column, select, text, true

from conversation.arguments import check_whole_number
from conversation.branch_address import MAIN, split_address
from conversation.errors import InvalidInput
from conversation.validation import check_id, check_tenant, check_text
from store.database.estimates import estimate
from store.database.function_calls import has_functions
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.database.tenant import current_tenant
from store.functions import SCHEMA
from store.tables import messages, threads

#: Hits of one search, at most.
HITS_MAX = 200
#: Messages that are ranked: of more that match, the newest, since a rank needs the whole text.
RANKED_MAX = 500
#: Messages that are read, at most, to find so many without the index: it would name all that match first.
READ_MAX = 10 * RANKED_MAX
#: Characters of a query: a few sentences.
QUERY_MAX_CHARS = 2_000
#: PostgreSQL indexes words up to 2 KiB: so many characters fit, of up to four bytes each.
WORD_MAX_CHARS = 500
#: Words of a query, those of phrases too: each is looked up, and counts with each other one where hits are ranked.
WORDS_MAX = 100
#: Characters of a message that PostgreSQL's index reads; see the index in `tables`.
SEARCHED_CHARS = 100_000
#: The marks before and behind a highlight.
MARKS = ("**", "**")

#: The id of the row that shows a message: of the one with which it is stored; where that one does not show it, or is
#: another user's, of the first one that shares it; else null. The same in PostgreSQL's function.
_SHOWN_BY = """
    CASE
        WHEN threads.deleted_at IS NULL AND messages.seq > threads.history_starts_after
            AND (CAST(:user AS text) IS NULL OR threads.owner = CAST(:user AS text))
        THEN threads.id
        WHEN EXISTS (SELECT 1 FROM threads AS child WHERE child.parent_key = threads.key)
        THEN (
            WITH RECURSIVE below AS (
                SELECT child.key, child.id, child.owner, child.deleted_at, child.history_starts_after
                FROM threads AS child WHERE child.parent_key = threads.key AND child.shared_to_seq >= messages.seq
                UNION ALL
                SELECT child.key, child.id, child.owner, child.deleted_at, child.history_starts_after
                FROM threads AS child JOIN below ON child.parent_key = below.key
                WHERE child.shared_to_seq >= messages.seq
            )
            SELECT below.id FROM below
            WHERE below.deleted_at IS NULL AND messages.seq > below.history_starts_after
                AND (CAST(:user AS text) IS NULL OR below.owner = CAST(:user AS text))
            ORDER BY below.key LIMIT 1
        )
    END AS row_id
"""
_MATCHES_OF_POSTGRESQL = f"""
    SELECT * FROM (
        SELECT messages.id, messages.seq, messages.role, messages.content, messages.created_at, {_SHOWN_BY}
        FROM messages
        CROSS JOIN LATERAL (SELECT * FROM threads WHERE threads.key = messages.thread_key OFFSET 0) AS threads
        WHERE threads.tenant = :tenant
            AND NOT messages.rolled_back AND to_tsvector('simple', left(messages.content, {SEARCHED_CHARS}))
            @@ websearch_to_tsquery('simple', :query)
    ) AS message
    WHERE row_id IS NOT NULL ORDER BY created_at DESC, seq DESC LIMIT {RANKED_MAX}
"""  # noqa: S608 - texts of our own
_MATCHES_OF_SQLITE = f"""
    SELECT * FROM (
        SELECT messages.id, messages.seq, messages.role, messages.created_at, -bm25(messages_search) AS score,
            snippet(messages_search, 0, :start, :stop, '…', 30) AS highlight, {_SHOWN_BY}
        FROM messages_search JOIN messages ON messages.rowid = messages_search.rowid
        JOIN threads ON threads.key = messages.thread_key
        WHERE messages_search MATCH :query AND threads.tenant = :tenant AND NOT messages.rolled_back
    ) AS message
    WHERE row_id IS NOT NULL ORDER BY score DESC, created_at DESC, seq DESC LIMIT :limit
"""  # noqa: S608 - texts of our own
_is_in_view = messages.c.rolled_back.is_(False)
_MESSAGE_COLUMNS = (messages.c.id, messages.c.seq, messages.c.role, messages.c.content, messages.c.created_at)
_SIMPLE: ColumnElement[str] = literal_column("'simple'")
_TERM = re.compile(r'(-?)(?:"([^"]*)"|([^\s"]+))')


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search found."""

    thread_id: str
    #: The branch that shows it; others may share it.
    branch: str
    message_id: str
    seq: int
    role: str
    #: Higher is better; comparable within one search only.
    rank: float
    #: The passage, with the words that were found between `**`.
    highlight: str


@dataclass(slots=True)
class _Group:
    """Terms that a message must have together, and terms that it must not have."""

    required_terms: list[str] = field(default_factory=list)
    excluded_terms: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Scope:
    """The threads that are searched."""

    tenant: str
    #: Whose threads; None: those of all.
    user: str | None

    @property
    def condition(self) -> ColumnElement[bool]:
        of_tenant = (threads.c.tenant == self.tenant) & threads.c.deleted_at.is_(None)
        return of_tenant if self.user is None else of_tenant & (threads.c.owner == self.user)


@read_only
def search_messages(
    connection: Connection, query: str, *, tenant: str = "default", user: str | None = None, limit: int = 20
) -> list[Hit]:
    """Messages with the words of `query`, best first: as in a web search, `"a phrase"`, `or`, `-not`.

    Where more than `RANKED_MAX` messages have them, the best of the newest. With `user`, in their threads only.

    Raises `InvalidInput` for a query without words to look for.
    """
    limit = check_whole_number("limit", limit, minimum=1, maximum=HITS_MAX)
    scope = _Scope(check_tenant(tenant), None if user is None else check_id("user", user))
    groups = _groups(check_text("query", query, max_chars=QUERY_MAX_CHARS))
    if connection.dialect.name == "sqlite":
        return _search_sqlite(connection, groups, scope, limit)
    return _search_postgresql(connection, groups, scope, limit)


def _groups(query: str) -> list[_Group]:
    """The query as alternatives of terms."""
    groups = [_Group()]
    for is_excluded, term, is_phrase in _terms(query):
        if term.lower() == "or" and not is_phrase and not is_excluded:
            groups.append(_Group())
        else:
            (groups[-1].excluded_terms if is_excluded else groups[-1].required_terms).append(term)
    groups = [group for group in groups if group.required_terms or group.excluded_terms]
    if not groups or not all(group.required_terms for group in groups):
        raise InvalidInput("query", "has no words to look for", "add one, on each side of an `or`")
    return groups


def _terms(query: str) -> Iterator[tuple[bool, str, bool]]:
    """Yield is_excluded, term and is_phrase of each term. A word without a letter or digit is no term."""
    words = 0
    for minus, phrase, word in _TERM.findall(query):
        term = phrase or word
        words += len(term.split())
        if words > WORDS_MAX:
            raise InvalidInput("query", f"has more than {WORDS_MAX} words", "ask for fewer")
        if any(len(part) > WORD_MAX_CHARS for part in term.split()):
            raise InvalidInput("query", "has a word that is too long", f"at most {WORD_MAX_CHARS} characters fit")
        if any(char.isalnum() for char in term):
            yield bool(minus), term, bool(phrase)


def _search_postgresql(connection: Connection, groups: list[_Group], scope: _Scope, limit: int) -> list[Hit]:
    query = " or ".join(_web_query(group) for group in groups)
    words = func.websearch_to_tsquery(_SIMPLE, query)
    if _is_common(connection, words):
        rows = connection.execute(_rank(_select_recent_matches(words, scope), words, limit)).all()
        if rows and rows[0].matches == RANKED_MAX:
            return list(map(_hit, rows))
    matches = _select_matches(connection, query, scope)
    return [_hit(row) for row in connection.execute(_rank(matches, words, limit))]


def _is_common(connection: Connection, words: ColumnElement[Any]) -> bool:
    """Whether so many messages match that the newest hold enough of them, going by PostgreSQL's statistics."""
    all_messages = select(messages.c.seq)
    matches = estimate(connection, all_messages.where(_matches(messages.c.content, words))).rows
    return matches > RANKED_MAX and matches * READ_MAX > estimate(connection, all_messages).rows * RANKED_MAX


def _matches(content: ColumnElement[str], words: ColumnElement[Any]) -> ColumnElement[bool]:
    return _document(content).bool_op("@@")(words)


def _document(content: ColumnElement[str]) -> ColumnElement[Any]:
    return func.to_tsvector(_SIMPLE, func.left(content, literal_column(str(SEARCHED_CHARS))))


def _select_matches(connection: Connection, query: str, scope: _Scope) -> Select[Any]:
    """The newest messages that match, found by the index."""
    columns = [column(each.name, each.type) for each in (*_MESSAGE_COLUMNS, threads.c.id.label("row_id"))]
    if has_functions(connection) and current_tenant() == scope.tenant:
        # Also where row-level security keeps the role from the index.
        words = func.websearch_to_tsquery(_SIMPLE, query)
        find = getattr(func, SCHEMA).find_messages_v1(words, scope.user, RANKED_MAX)
        return select(find.table_valued(*columns))
    found = text(_MATCHES_OF_POSTGRESQL).bindparams(query=query, tenant=scope.tenant, user=scope.user)
    return select(found.columns(*columns).subquery())


def _select_recent_matches(words: ColumnElement[Any], scope: _Scope) -> Select[Any]:
    """The messages that match among the newest of the threads that were used last: of a common word, many do."""
    keys = (threads.c.key, threads.c.id, threads.c.history_starts_after)
    has_period = threads.c.updated_period.is_not(None)
    recent_threads = select(*keys).where(scope.condition, has_period).order_by(threads.c.updated_period.desc())
    thread = recent_threads.limit(READ_MAX).subquery()
    of_thread = (messages.c.thread_key == thread.c.key) & (messages.c.seq > thread.c.history_starts_after)
    newest_messages = (
        select(*_MESSAGE_COLUMNS).where(of_thread, _is_in_view).order_by(messages.c.seq.desc()).limit(READ_MAX)
    )
    message = newest_messages.lateral()
    # Limited by itself, so that what is read is bounded, whatever matches.
    read_messages = select(thread.c.id.label("row_id"), message).join_from(thread, message, true()).limit(READ_MAX)
    read = read_messages.subquery()
    return select(read).where(_matches(read.c.content, words)).limit(RANKED_MAX)


def _rank(matches: Select[Any], words: ColumnElement[Any], limit: int) -> Select[Any]:
    """The best of these matches, with their number and the passages."""
    match = matches.subquery()
    rank = func.ts_rank_cd(_document(match.c.content), words).label("rank")
    best = select(match, rank, func.count().over().label("matches"))
    order = rank.desc(), match.c.created_at.desc(), match.c.seq.desc()
    hits = best.order_by(*order).limit(limit).subquery()
    marks = f"StartSel={MARKS[0]}, StopSel={MARKS[1]}, MaxFragments=2, MaxWords=20, MinWords=5"
    # Only the hits that are returned are highlighted: highlighting reads the whole text.
    highlight = func.ts_headline(_SIMPLE, func.left(hits.c.content, SEARCHED_CHARS), words, marks)
    return select(*hits.c, highlight.label("highlight")).order_by(
        hits.c.rank.desc(), hits.c.created_at.desc(), hits.c.seq.desc()
    )


def _hit(row: AnyRow) -> Hit:
    return _build_hit(row, float(row.rank))


def _build_hit(row: AnyRow, rank: float) -> Hit:
    thread_id, branch = split_address(row.row_id)
    return Hit(thread_id, branch or MAIN, row.id, row.seq, row.role, rank, row.highlight)


def _web_query(group: _Group) -> str:
    """The group for `websearch_to_tsquery`, each term quoted so that none of them is an operator."""
    return " ".join([*(f'"{term}"' for term in group.required_terms), *(f'-"{term}"' for term in group.excluded_terms)])


def _search_sqlite(connection: Connection, groups: list[_Group], scope: _Scope, limit: int) -> list[Hit]:
    query = " OR ".join(_fts5_query(group) for group in groups)
    values = {
        "query": query,
        "tenant": scope.tenant,
        "user": scope.user,
        "limit": limit,
        "start": MARKS[0],
        "stop": MARKS[1],
    }
    rows = connection.execute(text(_MATCHES_OF_SQLITE), values)
    return [_build_hit(row, float(row.score)) for row in rows]


def _fts5_query(group: _Group) -> str:
    """The group for FTS5, each term quoted so that none of them is an operator."""
    required_text = " ".join(f'"{term}"' for term in group.required_terms)
    if not group.excluded_terms:
        return f"({required_text})"
    # One NOT, for FTS5 nests them, and only so deep.
    excluded_text = " OR ".join(f'"{term}"' for term in group.excluded_terms)
    return f"(({required_text}) NOT ({excluded_text}))"
