"""Which threads are due: found through an index for each rule, one group of threads after the other.

A group is the threads of one tenant that one agent answered last: general policies say the same of
all of them. Threads with a policy of their own are looked at one by one.

What stays true: the cost is that of what is due, and of a step in an index for each group, not of what
is stored; a thread that is due and must stay is passed over, and nothing behind it is missed.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    exists,
    func,
    literal,
    select,
    text,
    tuple_,
)

from store.database.column_types import moment_ago
from store.database.engine import Runs
from store.database.statements import AnyRow
from store.tables import threads
from store.tables.retention import UNSEEN, retention_cuts, retention_policies

#: Threads of one page.
PAGE = 100
#: Groups of one statement.
GROUPS = 1_000

_agent = func.coalesce(threads.c.agent, text("''"))
_unseen: ColumnElement[bool] = text(f"({UNSEEN})")  # type: ignore[assignment]
#: By what each rule finds its threads: expressions of the indexes, word for word.
_PLACES: Mapping[str, Any] = {
    "idle_days": threads.c.updated_at,
    "max_age_days": func.coalesce(threads.c.retained_from, threads.c.created_at),
    "max_messages": threads.c.last_seq - threads.c.retention_cut,
}


def due(database: Runs) -> Iterator[int]:
    """The keys of threads that a policy may want something of; one may come twice."""
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        groups = database.run(partial(due_groups, after=after))
        for group in groups:
            for rule in _PLACES:
                if getattr(group, f"has_{rule}"):
                    value = getattr(group, rule)
                    read = partial(_due_page, group=(group.tenant, group.agent), rule=rule, value=value)
                    yield from (row.key for row in _pages(database, read))
        after = (groups[-1].tenant, groups[-1].agent) if len(groups) == GROUPS else None
    yield from (row.key for row in _pages(database, _page_of_their_own))


def pending(database: Runs) -> Iterator[AnyRow]:
    """Threads whose cut was moved, and of which something is left to delete: `key` and `archive`."""
    yield from _pages(database, _pending_page)


def _pages(database: Runs, read: Any) -> Iterator[AnyRow]:
    """Page by page, each behind the last row of the one before."""
    after: AnyRow | None = None
    while rows := database.run(partial(read, after=after)):
        yield from rows
        after = rows[-1]


def due_groups(connection: Connection, *, after: tuple[str, str]) -> list[AnyRow]:
    """A page of groups in their order: what the strictest policies say, and whether any thread is past it."""
    return list(connection.execute(groups_statement(after)))


def groups_statement(after: tuple[str, str]) -> Select[Any]:
    """The statement of `due_groups`."""
    said = _said(_groups(after))
    of_group = (threads.c.tenant == said.c.tenant) & (_agent == said.c.agent)
    has = {rule: exists().where(of_group, *_is_past(rule, said.c[rule])) for rule in _PLACES}
    flags = (found.correlate(said).label(f"has_{rule}") for rule, found in has.items())
    return select(said, *flags).order_by(said.c.tenant, said.c.agent)


def _groups(after: tuple[str, str]) -> CTE:
    """The groups behind one: a step in an index each, however many threads they have."""
    first = [_next(name, tuple_(*map(literal, after))).label(name) for name in ("tenant", "agent")]
    groups = select(*first).cte("groups", recursive=True)
    here = tuple_(groups.c.tenant, groups.c.agent)
    following = [_next(name, here) for name in ("tenant", "agent")]
    return groups.union_all(select(*following).where(groups.c.tenant.is_not(None)))


def _next(name: str, after: Any) -> Any:
    group = {"tenant": threads.c.tenant, "agent": _agent}
    behind = select(group[name]).where(tuple_(*group.values()) > after)
    return behind.order_by(*group.values()).limit(1).scalar_subquery()


def _said(groups: CTE) -> Subquery:
    """What the strictest of all policies for each of so many groups says: of each rule, the least."""
    page = select(groups).where(groups.c.tenant.is_not(None)).limit(GROUPS).subquery()
    own = retention_policies.c
    applies = and_(
        own.thread_id == "", own.tenant.in_(["", page.c.tenant]), own.agent.in_(["", page.c.agent])
    )
    least = (func.min(own[rule]).label(rule) for rule in _PLACES)
    statement = select(page.c.tenant, page.c.agent, *least).outerjoin(retention_policies, applies)
    return statement.group_by(page.c.tenant, page.c.agent).subquery()


def _due_page(
    connection: Connection, *, group: tuple[str, str], rule: str, value: float, after: AnyRow | None
) -> list[AnyRow]:
    return list(connection.execute(due_rows(*group, rule, value, after=after)))


def due_rows(tenant: str, agent: str, rule: str, value: float, *, after: AnyRow | None) -> Select[Any]:
    """A page of one group's threads that one rule is about."""
    place = _PLACES[rule]
    statement = select(threads.c.key, place.label("place")).where(
        threads.c.tenant == tenant, _agent == agent, *_is_past(rule, value)
    )
    if after is not None:
        behind = literal(after.place, place.type), literal(after.key, threads.c.key.type)
        statement = statement.where(tuple_(place, threads.c.key) > tuple_(*behind))
    return statement.order_by(place, threads.c.key).limit(PAGE)


def _is_past(rule: str, value: Any) -> list[ColumnElement[bool]]:
    """What a rule is about, as the condition of its index; without threads that are being deleted."""
    place = _PLACES[rule]
    untouched = ~exists().where(retention_cuts.c.thread_key == threads.c.key).correlate(threads)
    past = place > value if rule == "max_messages" else place < moment_ago(days=value)
    return [past, untouched] if rule == "idle_days" else [past, untouched, _unseen]


def _page_of_their_own(connection: Connection, *, after: AnyRow | None) -> list[AnyRow]:
    own = retention_policies.c
    statement = (
        select(threads.c.key, own.key.label("place"))
        .join(threads, (threads.c.tenant == own.tenant) & (threads.c.id == own.thread_id))
        .where(own.thread_id != "", own.key > (0 if after is None else after.place))
    )
    return list(connection.execute(statement.order_by(own.key).limit(PAGE)))


def _pending_page(connection: Connection, *, after: AnyRow | None) -> list[AnyRow]:
    key = retention_cuts.c.thread_key
    statement = select(key.label("key"), retention_cuts.c.archive).where(
        key > (0 if after is None else after.key), retention_cuts.c.erasure_id.is_(None)
    )
    return list(connection.execute(statement.order_by(key).limit(PAGE)))
