"""Which threads are due for a summary, and what becomes of an attempt that failed.

What stays true: due threads are found by index, so that a look costs what is due and not what is
stored; whoever finds one puts it off for as long as a summary may take, in the same statement, so
that two looks at once find each thread once, and a dead summarizer's thread is found again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    and_,
    cast,
    func,
    literal,
    select,
    text,
    true,
    union_all,
    update,
)

from conversation.water_marks import WaterMarks
from store.database.column_types import clock
from store.tables import SUMMARIZED, threads

#: Seconds for which a thread is somebody's, from one summary to the next; then others begin it.
RESERVED_SECONDS = 900.0
#: Seconds that a summary may take, all its model calls together: over before the reservation is, so
#: that no second worker pays for the same summary.
WRITING_SECONDS = 780.0
#: Seconds before a failed summary is tried again; doubled each time.
RETRY_SECONDS = 60
#: Seconds for which a thread is left alone that has no whole turn to cover.
NOTHING_SECONDS = 600.0


#: The predicate of the partial indexes, word for word, so that the planner sees that it fits.
_is_tried: ColumnElement[bool] = text(f"threads.{SUMMARIZED}")  # type: ignore[assignment]


@dataclass(slots=True, kw_only=True)
class Due:
    """A thread with so much that no summary covers that it should be summarized, reserved for that."""

    key: int
    tenant: str
    thread_id: str
    #: The agent of its newest turn; None where nobody answered it yet.
    agent: str | None
    #: It is reserved until then, which also tells this reservation from every other.
    until: datetime
    #: It was given back with more to be written.
    goes_on: bool = False


def may_be_summarized() -> ColumnElement[bool]:
    """Nobody is at it, and it did not fail lately or too often."""
    # Not IS NULL: in a RETURNING, SQLite takes that for false.
    is_free = func.coalesce(threads.c.summary_retry_at <= clock(), true())
    return and_(_is_tried, is_free)


def take_due(
    connection: Connection,
    *,
    marks: Mapping[str, WaterMarks],
    other_marks: WaterMarks,
    limit: int,
) -> list[Due]:
    """Take the threads furthest above their agent's high mark; nobody else is given them for a while.

    `other_marks` are those of agents that `marks` does not name.
    """
    found = _above_marks(connection, marks, other_marks, limit)
    if not found:
        return []
    above = union_all(*found).subquery()
    due = select(above.c.key, func.max(above.c.fullness).label("fullness")).group_by(above.c.key).cte("due")
    taken = (
        select(threads.c.key)
        .join(due, due.c.key == threads.c.key)
        .where(may_be_summarized())
        # Not by key, as locks are taken elsewhere: who skips what is locked waits for nobody.
        .order_by(due.c.fullness.desc(), threads.c.key)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True, of=threads)
        # Run once and for all: a planner may run a subquery again for each row, and take more than asked.
        .cte("taken")
    )
    rows = connection.execute(
        update(threads)
        .where(threads.c.key.in_(select(taken.c.key)))
        .values(summary_retry_at=clock(plus_seconds=RESERVED_SECONDS))
        .returning(threads.c.key, threads.c.tenant, threads.c.id, threads.c.agent, threads.c.summary_retry_at)
    )
    return [
        Due(key=row.key, tenant=row.tenant, thread_id=row.id, agent=row.agent, until=row.summary_retry_at)
        for row in rows
    ]


def _above_marks(
    connection: Connection, marks: Mapping[str, WaterMarks], other_marks: WaterMarks, limit: int
) -> list[Select[tuple[int, float]]]:
    """A query for each pair of an index and a mark: keys, and how many times the mark each is full."""
    groups: dict[WaterMarks, list[str]] = {}
    for name in _agents(connection):
        groups.setdefault(marks.get(name, other_marks), []).append(name)
    whose = [(threads.c.agent.in_(names), group) for group, names in groups.items()]
    whose.append((threads.c.agent.is_(None), other_marks))
    return [
        _fullest(and_(of_agents, counted >= high, may_be_summarized()), counted, high, limit)
        for of_agents, group in whose
        for counted, high in (
            (threads.c.uncovered_messages, group.high_messages),
            (threads.c.uncovered_tokens, group.high_tokens),
        )
        if high > 0
    ]


def _fullest(
    condition: ColumnElement[bool], counted: ColumnElement[int], high: int, limit: int
) -> Select[tuple[int, float]]:
    # The subquery keeps ORDER BY and LIMIT on their own side of the UNION, on SQLite too.
    fullness = (cast(counted, Float) / high).label("fullness")
    found = select(threads.c.key, fullness).where(condition).order_by(counted.desc()).limit(limit).subquery()
    return select(found.c.key, found.c.fullness)


def _agents(connection: Connection) -> Collection[str]:
    """The agents of all threads, one step in the index each."""
    lowest = select(func.min(threads.c.agent).label("agent")).where(_is_tried)
    first = lowest.cte("agents_of_threads", recursive=True)
    following = lowest.where(threads.c.agent > first.c.agent).scalar_subquery()
    names = first.union_all(select(following).where(first.c.agent.is_not(None)))
    statement = select(names.c.agent).where(names.c.agent.is_not(None))
    return connection.execute(statement).scalars().all()


def is_above(connection: Connection, tenant: str, thread_id: str, *, marks: WaterMarks) -> bool:
    """Whether a thread is above its high mark, whoever has it."""
    row = connection.execute(
        select(threads.c.uncovered_messages, threads.c.uncovered_tokens).where(
            threads.c.tenant == tenant, threads.c.id == thread_id
        )
    ).one_or_none()
    return row is not None and marks.are_passed(messages=row.uncovered_messages, tokens=row.uncovered_tokens)


def renew(connection: Connection, due: Due) -> datetime | None:
    """Keep the thread for as long again; None where it is not reserved by this one any more.

    Locks its row: until the transaction ends nobody takes its summary back.
    """
    until = clock(plus_seconds=RESERVED_SECONDS)
    statement = update(threads).where(_is_reserved(due)).values(summary_retry_at=until)
    return connection.execute(statement.returning(threads.c.summary_retry_at)).scalar_one_or_none()


def note_failure(connection: Connection, due: Due) -> int:
    """The thread's summary failed: it is tried again later, each time after twice as long.

    Returns how often it failed in a row; 0 where the thread is not reserved by this one any more.
    """
    failures = threads.c.summary_failures
    statement = (
        update(threads)
        .where(_is_reserved(due))
        .values(
            summary_failures=failures + 1,
            summary_retry_at=clock(plus_seconds=RETRY_SECONDS * literal(1).bitwise_lshift(failures)),
        )
        .returning(failures)
    )
    return connection.execute(statement).scalar_one_or_none() or 0


def put_off(connection: Connection, due: Due, *, seconds: float) -> None:
    """Look at the thread again after a while, if it is still reserved by this one."""
    later = update(threads).where(_is_reserved(due))
    connection.execute(later.values(summary_retry_at=clock(plus_seconds=seconds)))


def _is_reserved(due: Due) -> ColumnElement[bool]:
    return and_(threads.c.key == due.key, threads.c.summary_retry_at == due.until)


def try_again(connection: Connection, key: int) -> None:
    """Forget what failed: the thread is due as any other."""
    connection.execute(
        update(threads).where(threads.c.key == key).values(summary_failures=0, summary_retry_at=None)
    )
