"""Which threads are due: found through an index for each rule, one group of threads after the other.

A group is the threads of one tenant that one agent answered last: general policies say the same of
all of them. Threads with a policy of their own are looked at one by one.

What stays true: the cost is that of what is due, not of what is stored; a thread that is due and must
stay is passed over, and nothing behind it is missed.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal, select, text, tuple_

from store.columns import moment_ago
from store.engine import Database
from store.retention import policies
from store.retention.policy import Effective, strictest
from store.retention_tables import UNSEEN, retention_cuts, retention_policies
from store.statements import AnyRow
from store.tables import threads

#: Threads of one page.
PAGE = 100

_agent = func.coalesce(threads.c.agent, text("''"))
_unseen: ColumnElement[bool] = text(f"({UNSEEN})")  # type: ignore[assignment]
#: By what each rule finds its threads: expressions of the indexes, word for word.
_PLACES: Mapping[str, Any] = {
    "idle_days": threads.c.updated_at,
    "max_age_days": func.coalesce(threads.c.retained_from, threads.c.created_at),
    "max_messages": threads.c.last_seq - threads.c.retention_cut,
}


def due(database: Database) -> Iterator[int]:
    """The keys of threads that a policy may want something of; one may come twice."""
    general = database.run(policies.general)
    group = ("", "")
    while general and (following := database.run(partial(_next_group, after=group))):
        group = following
        effective = strictest(policies.applying(general, *group))
        for rule in _PLACES:
            if effective.value(rule) is not None:
                read = partial(_due_page, group=group, rule=rule, effective=effective)
                yield from (row.key for row in _pages(database, read))
    yield from (row.key for row in _pages(database, _page_of_their_own))


def pending(database: Database) -> Iterator[AnyRow]:
    """Threads whose cut was moved, and of which something is left to delete: `key` and `archive`."""
    yield from _pages(database, _pending_page)


def _pages(database: Database, read: Any) -> Iterator[AnyRow]:
    """Page by page, each behind the last row of the one before."""
    after: AnyRow | None = None
    while rows := database.run(partial(read, after=after)):
        yield from rows
        after = rows[-1]


def _next_group(connection: Connection, *, after: tuple[str, str]) -> tuple[str, str] | None:
    """The next tenant and agent: one look into an index each, however many threads they have."""
    groups = select(threads.c.tenant, _agent.label("agent")).where(tuple_(threads.c.tenant, _agent) > after)
    row = connection.execute(groups.order_by(threads.c.tenant, _agent).limit(1)).one_or_none()
    return None if row is None else (row.tenant, row.agent)


def _due_page(
    connection: Connection, *, group: tuple[str, str], rule: str, effective: Effective, after: AnyRow | None
) -> list[AnyRow]:
    return list(connection.execute(due_rows(*group, rule, effective.value(rule), after=after)))


def due_rows(tenant: str, agent: str, rule: str, value: float, *, after: AnyRow | None) -> Select[Any]:
    """A page of one group's threads that one rule is about."""
    place = _PLACES[rule]
    statement = select(threads.c.key, place.label("place")).where(
        threads.c.tenant == tenant,
        _agent == agent,
        place > value if rule == "max_messages" else place < moment_ago(days=value),
    )
    if rule != "idle_days":
        statement = statement.where(_unseen)
    if after is not None:
        behind = literal(after.place, place.type), literal(after.key, threads.c.key.type)
        statement = statement.where(tuple_(place, threads.c.key) > tuple_(*behind))
    return statement.order_by(place, threads.c.key).limit(PAGE)


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
