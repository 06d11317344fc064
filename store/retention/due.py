"""Threads that are due, found through an index for each rule, a page of each group of threads after the other.

A group is the threads of one tenant that one agent answered last: general policies say the same of
all of them. Threads with a policy of their own are checked one by one.

What stays true: the cost is that of what is due, and of a step in an index for each group, not of what
is stored; a thread that is due and must stay is passed over, and nothing behind it is missed.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, Select, Subquery
from sqlalchemy.sql import and_, exists, func, literal, or_, select, text, tuple_

from store.database.column_types import moment_ago
from store.database.engine import TransactionRunner
from store.database.statements import AnyRow
from store.tables import HAS_HISTORY_STEP, HISTORY_STEP, threads
from store.tables.retention import NEEDS_RETENTION_CHECK, pending_deletions, retention_policies

#: Threads of one page.
PAGE = 100
#: Groups of one statement.
GROUPS = 1_000

_agent = func.coalesce(threads.c.agent, text("''"))
_needs_check: ColumnElement[bool] = text(f"threads.{NEEDS_RETENTION_CHECK}")  # type: ignore[assignment]
_has_step: ColumnElement[bool] = text(f"threads.{HAS_HISTORY_STEP}")  # type: ignore[assignment]
#: The expression that each rule sorts by: those of the indexes, word for word.
_SORT_KEYS: Mapping[str, Any] = {
    "idle_days": threads.c.updated_period,
    "max_age_days": func.coalesce(threads.c.retained_from, threads.c.created_at),
    "max_messages": threads.c.history_step,
}


def find_due_threads(database: TransactionRunner) -> Iterator[int]:
    """Find the keys of threads that may be past a policy's rule; a key may come twice."""
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        groups = database.run(load_due_groups, after=after)
        pages_of_groups = [
            _read_pages(
                database, _load_due_page, group=(group.tenant, group.agent), rule=rule, value=getattr(group, rule)
            )
            for group in groups
            for rule in _SORT_KEYS
            if getattr(group, f"has_{rule}")
        ]
        yield from (row.key for row in _take_turns(pages_of_groups))
        after = (groups[-1].tenant, groups[-1].agent) if len(groups) == GROUPS else None
    yield from (row.key for page in _read_pages(database, _load_own_policy_page) for row in page)


def find_pending_deletions(database: TransactionRunner) -> Iterator[AnyRow]:
    """Find threads with messages left to delete below their moved cutoff: rows of `key` and `archive`."""
    yield from (row for page in _read_pages(database, _load_next_pending) for row in page)


def _read_pages(database: TransactionRunner, load_page: Any, **scope: Any) -> Iterator[list[AnyRow]]:
    """Read rows page by page, each page after the last row of the previous one."""
    after: AnyRow | None = None
    while rows := database.run(load_page, **scope, after=after):
        yield rows
        after = rows[-1]


def _take_turns(readers: Iterable[Iterator[list[AnyRow]]]) -> Iterator[AnyRow]:
    """The rows of a page of each reader, then of the next page: a run that breaks off has come to all tenants."""
    waiting = deque(readers)
    while waiting:
        reader = waiting.popleft()
        for page in islice(reader, 1):
            yield from page
            waiting.append(reader)


def load_due_groups(connection: Connection, *, after: tuple[str, str]) -> list[AnyRow]:
    """Load a page of groups in order: their strictest limits, and whether any thread is past each limit."""
    return list(connection.execute(groups_statement(after)))


def groups_statement(after: tuple[str, str]) -> Select[Any]:
    """The statement of `due_groups`."""
    strictest = _strictest_values(_groups(after))
    of_group = (threads.c.tenant == strictest.c.tenant) & (_agent == strictest.c.agent)
    has: dict[str, ColumnElement[bool]] = {
        rule: exists().where(of_group, *_is_past(rule, strictest.c[rule])).correlate(strictest) for rule in _SORT_KEYS
    }
    limit = strictest.c.max_messages
    # In the order of an index: a planner could look for the first one among all threads.
    short = select(threads.c.key).where(of_group, *_is_past_low_limit(limit)).order_by(_SORT_KEYS["max_age_days"])
    is_low_passed = and_(limit < HISTORY_STEP, short.limit(1).correlate(strictest).scalar_subquery().is_not(None))
    has["max_messages"] = or_(has["max_messages"], is_low_passed)
    labels = (is_past.label(f"has_{rule}") for rule, is_past in has.items())
    return select(strictest, *labels).order_by(strictest.c.tenant, strictest.c.agent)


def _groups(after: tuple[str, str]) -> CTE:
    """The groups after one: a step in an index each, however many threads they have."""
    first_group = [_next_group_value(name, tuple_(*map(literal, after))).label(name) for name in ("tenant", "agent")]
    groups = select(*first_group).cte("groups", recursive=True)
    last_group = tuple_(groups.c.tenant, groups.c.agent)
    next_group = [_next_group_value(name, last_group) for name in ("tenant", "agent")]
    return groups.union_all(select(*next_group).where(groups.c.tenant.is_not(None)))


def _next_group_value(name: str, after: Any) -> Any:
    group = {"tenant": threads.c.tenant, "agent": _agent}
    later_groups = select(group[name]).where(tuple_(*group.values()) > after, threads.c.updated_period.is_not(None))
    return later_groups.order_by(*group.values()).limit(1).scalar_subquery()


def _strictest_values(groups: CTE) -> Subquery:
    """The strictest limit of each rule for a page of groups: the least of all policies that apply."""
    page = select(groups).where(groups.c.tenant.is_not(None)).limit(GROUPS).subquery()
    policy = retention_policies.c
    applies = and_(policy.thread_id == "", policy.tenant.in_(["", page.c.tenant]), policy.agent.in_(["", page.c.agent]))
    least = (func.min(policy[rule]).label(rule) for rule in _SORT_KEYS)
    statement = select(page.c.tenant, page.c.agent, *least).outerjoin(retention_policies, applies)
    return statement.group_by(page.c.tenant, page.c.agent).subquery()


def _load_due_page(
    connection: Connection, *, group: tuple[str, str], rule: str, value: float, after: AnyRow | None
) -> list[AnyRow]:
    return list(connection.execute(due_rows(*group, rule, value, after=after)))


def due_rows(tenant: str, agent: str, rule: str, value: float, *, after: AnyRow | None) -> Select[Any]:
    """The statement for a page of one group's threads that are past one rule."""
    # Threads of less than a step are in the order of their age alone.
    is_low_limit = rule == "max_messages" and value < HISTORY_STEP
    sort_key = _SORT_KEYS["max_age_days" if is_low_limit else rule]
    conditions = _is_past_low_limit(value) if is_low_limit else _is_past(rule, value)
    statement = select(threads.c.key, sort_key.label("sort_key")).where(
        threads.c.tenant == tenant, _agent == agent, *conditions
    )
    if after is not None:
        last_position = literal(after.sort_key, sort_key.type), literal(after.key, threads.c.key.type)
        statement = statement.where(tuple_(sort_key, threads.c.key) > tuple_(*last_position))
    return statement.order_by(sort_key, threads.c.key).limit(PAGE)


def _is_past(rule: str, value: Any) -> list[ColumnElement[bool]]:
    """The conditions for threads past a rule, as its index has them; without threads being deleted."""
    sort_key = _SORT_KEYS[rule]
    if rule == "max_messages":
        # The index knows the steps only: of the first one, some threads are not past the rule.
        return [sort_key >= value // HISTORY_STEP, _has_step, *_is_past_low_limit(value)]
    if rule == "idle_days":
        # A period begins before every time in it.
        return [sort_key < moment_ago(days=value), threads.c.updated_at < moment_ago(days=value), _is_untouched()]
    return [sort_key < moment_ago(days=value), _is_untouched(), _needs_check]


def _is_past_low_limit(value: Any) -> list[ColumnElement[bool]]:
    """The conditions for threads of more than so many messages, those of less than a step among them."""
    return [threads.c.last_seq - threads.c.history_starts_after > value, _is_untouched(), _needs_check]


def _is_untouched() -> ColumnElement[bool]:
    is_being_deleted = exists().where(pending_deletions.c.thread_key == threads.c.key).correlate(threads)
    # What a deleted one leaves to others is theirs.
    return ~is_being_deleted & threads.c.deleted_at.is_(None)


def _load_own_policy_page(connection: Connection, *, after: AnyRow | None) -> list[AnyRow]:
    """A page of threads with a policy of their own, with their branches."""
    policy, first = retention_policies.c, threads.alias("first")
    of_policy = (first.c.tenant == policy.tenant) & (first.c.id == policy.thread_id)
    of_thread = (threads.c.key == first.c.key) | (threads.c.root_key == first.c.key)
    position = policy.key, threads.c.key
    statement = (
        select(threads.c.key, policy.key.label("sort_key"))
        .select_from(retention_policies.join(first, of_policy).join(threads, of_thread))
        .where(policy.thread_id != "", threads.c.deleted_at.is_(None))
    )
    if after is not None:
        last_position = literal(after.sort_key, policy.key.type), literal(after.key, threads.c.key.type)
        statement = statement.where(tuple_(*position) > tuple_(*last_position))
    return list(connection.execute(statement.order_by(*position).limit(PAGE)))


def _load_next_pending(connection: Connection, *, after: AnyRow | None) -> list[AnyRow]:
    key = pending_deletions.c.thread_key
    statement = select(key.label("key"), pending_deletions.c.archive).where(pending_deletions.c.erasure_id.is_(None))
    if after is not None:
        statement = statement.where(key < after.key)
    # Branches before what they were branched from: each may open the deletion of that, which comes next.
    return list(connection.execute(statement.order_by(key.desc()).limit(1)))
