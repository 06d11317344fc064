"""Which threads are due for a summary, and what becomes of an attempt that failed.

What stays true: due threads are found by index, so that a look costs what is due and not what is
stored; whoever finds one puts it off for as long as a summary may take, in the same statement, so
that two looks at once find each thread once, and a dead summarizer's thread is found again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, select, true, union, update

from conversation.water_marks import WaterMarks
from store.columns import clock
from store.tables import threads

#: Attempts at one thread's next summary; then it is left to a person, whom the doctor tells.
MAX_FAILURES = 5
#: Seconds that a summary may take, all its model calls together, before somebody else begins it.
RESERVED_SECONDS = 900.0
#: Seconds before a failed summary is tried again; doubled each time.
RETRY_SECONDS = 60
#: Seconds for which a thread is left alone that has no whole turn to cover.
NOTHING_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A thread with so much that no summary covers that it should be summarized."""

    key: int
    tenant: str
    thread_id: str
    #: The agent of its newest turn; None where nobody answered it yet.
    agent: str | None


def may_be_summarized() -> ColumnElement[bool]:
    """Nobody is at it, and it did not fail lately or too often."""
    # Not IS NULL: in a RETURNING, SQLite takes that for false.
    is_free = func.coalesce(threads.c.summary_retry_at <= clock(), true())
    return and_(threads.c.summary_failures < MAX_FAILURES, is_free)


def take_due(
    connection: Connection,
    *,
    marks: Mapping[str, WaterMarks],
    other_marks: WaterMarks,
    limit: int,
) -> list[Due]:
    """Take the fullest threads above their agent's high mark; nobody else is given them for a while.

    `other_marks` are those of agents that `marks` does not name.
    """
    found = _above_marks(connection, marks, other_marks, limit)
    if not found:
        return []
    due = union(*found).cte("due")
    taken = (
        select(threads.c.key)
        .where(threads.c.key.in_(select(due.c.key)), may_be_summarized())
        .order_by(threads.c.key)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True)
        # Run once and for all: a planner may run a subquery again for each row, and take more than asked.
        .cte("taken")
    )
    rows = connection.execute(
        update(threads)
        .where(threads.c.key.in_(select(taken.c.key)))
        .values(summary_retry_at=clock(plus_seconds=RESERVED_SECONDS))
        .returning(threads.c.key, threads.c.tenant, threads.c.id, threads.c.agent)
    )
    return [Due(key=row.key, tenant=row.tenant, thread_id=row.id, agent=row.agent) for row in rows]


def _above_marks(
    connection: Connection, marks: Mapping[str, WaterMarks], other_marks: WaterMarks, limit: int
) -> list[Select[tuple[int]]]:
    """A query for each pair of an index and a mark."""
    groups: dict[WaterMarks, list[str]] = {}
    for name in _agents(connection):
        groups.setdefault(marks.get(name, other_marks), []).append(name)
    whose = [(threads.c.agent.in_(names), group) for group, names in groups.items()]
    whose.append((threads.c.agent.is_(None), other_marks))
    return [
        _fullest(and_(of_agents, counted >= high, may_be_summarized()), counted, limit)
        for of_agents, group in whose
        for counted, high in (
            (threads.c.uncovered_messages, group.high_messages),
            (threads.c.uncovered_tokens, group.high_tokens),
        )
        if high > 0
    ]


def _fullest(condition: ColumnElement[bool], counted: ColumnElement[int], limit: int) -> Select[tuple[int]]:
    # The subquery keeps ORDER BY and LIMIT on their own side of the UNION, on SQLite too.
    found = select(threads.c.key).where(condition).order_by(counted.desc()).limit(limit).subquery()
    return select(found.c.key)


def _agents(connection: Connection) -> Collection[str]:
    """The agents of all threads, one step in the index each."""
    first = select(func.min(threads.c.agent).label("agent")).cte("agents_of_threads", recursive=True)
    following = select(func.min(threads.c.agent)).where(threads.c.agent > first.c.agent).scalar_subquery()
    names = first.union_all(select(following).where(first.c.agent.is_not(None)))
    statement = select(names.c.agent).where(names.c.agent.is_not(None))
    return connection.execute(statement).scalars().all()


def note_failure(connection: Connection, key: int) -> int:
    """The thread's summary failed: it is tried again later, each time after twice as long.

    Returns how often it failed in a row.
    """
    failures = threads.c.summary_failures
    statement = (
        update(threads)
        .where(threads.c.key == key)
        .values(
            summary_failures=failures + 1,
            summary_retry_at=clock(plus_seconds=RETRY_SECONDS * literal(1).bitwise_lshift(failures)),
        )
        .returning(failures)
    )
    return connection.execute(statement).scalar_one_or_none() or 0


def put_off(connection: Connection, key: int, *, seconds: float) -> None:
    """Look at the thread again after a while."""
    later = update(threads).where(threads.c.key == key).values(summary_retry_at=clock(plus_seconds=seconds))
    connection.execute(later)


def try_again(connection: Connection, key: int) -> None:
    """Forget what failed: the thread is due as any other."""
    connection.execute(
        update(threads).where(threads.c.key == key).values(summary_failures=0, summary_retry_at=None)
    )
