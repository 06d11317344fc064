"""Threads that are due for a summary: finding, reserving and postponing them.

What stays true: due threads are found by index, so that a scan costs what is due and not what is
stored; a scan reserves each for as long as a summary may take, in the same statement, so that two
scans at once find each thread once, and a dead summarizer's thread is found again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CTE, ColumnElement, Connection, Float, Select, TextClause
from sqlalchemy.sql import and_, case, cast, func, literal, select, text, true, union, union_all, update

from conversation.water_marks import WaterMarks
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import convert_row
from store.history.row_ids import exact_address, is_row_of
from store.tables import (
    CAN_BE_SUMMARIZED,
    FILLS_WINDOW,
    HAS_MESSAGES_STEP,
    HAS_TOKENS_STEP,
    MAX_SUMMARY_FAILURES,
    UNCOVERED_MESSAGES_STEP,
    UNCOVERED_TOKENS_STEP,
    threads,
)

#: Seconds for which a summarizer reserves a thread, from one summary to the next; then others begin it.
RESERVATION_SECONDS = 900.0
#: Seconds that a summary may take, all its model calls together: over before the reservation is, so
#: that no second worker pays for the same summary.
WRITING_SECONDS = 780.0
#: Seconds before a failed summary is tried again; doubled each time.
RETRY_SECONDS = 60
#: Seconds for which a thread is left alone that has no whole turn to cover.
NOTHING_TO_COVER_SECONDS = 600.0


_STEPS = {"messages": UNCOVERED_MESSAGES_STEP, "tokens": UNCOVERED_TOKENS_STEP}
#: The predicates of the partial indexes, word for word, so that the planner sees that they fit.
_HAS_STEP = {"messages": text(f"threads.{HAS_MESSAGES_STEP}"), "tokens": text(f"threads.{HAS_TOKENS_STEP}")}
_is_tried: ColumnElement[bool] = text(f"threads.{CAN_BE_SUMMARIZED}")  # type: ignore[assignment]


@dataclass(slots=True, kw_only=True)
class DueThread:
    """A thread with so much that no summary covers that it should be summarized, reserved for that."""

    key: int
    tenant: str
    thread_id: str
    #: The agent of its newest turn; None where no agent answered it yet.
    agent: str | None
    #: The end of the reservation, which also distinguishes it from every other.
    reserved_until: datetime
    #: The thread was released with more summaries to be written.
    has_more: bool = False

    @property
    def address(self) -> str:
        """The address of the branch: the thread's id alone would stand for the one that is chosen."""
        return exact_address(self.thread_id)


def may_be_summarized() -> ColumnElement[bool]:
    """The thread is not reserved, and its summary did not fail lately or too often."""
    # Not IS NULL: in a RETURNING, SQLite takes that for false.
    is_free = func.coalesce(threads.c.summary_retry_at <= clock(), true())
    return and_(_is_tried, is_free)


def reserve_due(
    connection: Connection,
    *,
    marks: Mapping[str, WaterMarks],
    other_marks: WaterMarks,
    limit: int,
    except_tenants: Collection[str] = (),
) -> list[DueThread]:
    """Reserve the threads furthest above their agent's high mark; other summarizers do not get them.

    `other_marks` are those of agents that `marks` does not name. Threads of `except_tenants` are passed over.
    """
    is_open = may_be_summarized()
    if except_tenants:
        is_open = and_(is_open, threads.c.tenant.not_in(sorted(except_tenants)))
    candidates = _select_above_marks(connection, is_open, marks, other_marks, limit)
    if not candidates:
        return []
    reserved_threads = _lock_fullest(candidates, limit)
    rows = connection.execute(
        update(threads)
        .where(threads.c.key.in_(select(reserved_threads.c.key)))
        .values(summary_retry_at=clock(plus_seconds=RESERVATION_SECONDS))
        .returning(
            *(threads.c.key, threads.c.tenant, threads.c.agent),
            *(threads.c.id.label("thread_id"), threads.c.summary_retry_at.label("reserved_until")),
        )
    )
    return [convert_row(row, DueThread) for row in rows]


def _lock_fullest(candidates: Sequence[Select[tuple[int, float]]], limit: int) -> CTE:
    """The keys of the fullest candidates, whose rows it locks; locked ones are left out."""
    pairs = union_all(*candidates).subquery()
    due_threads = select(pairs.c.key, func.max(pairs.c.fullness).label("fullness")).group_by(pairs.c.key).cte("due")
    return (
        select(threads.c.key)
        .join(due_threads, due_threads.c.key == threads.c.key)
        .where(may_be_summarized())
        # Not by key, as locks are taken elsewhere: skipping locked rows waits for none.
        .order_by(due_threads.c.fullness.desc(), threads.c.key)
        .limit(limit)
        .with_for_update(key_share=True, skip_locked=True, of=threads)
        # Run once and for all: a planner may run a subquery again for each row, and take more than asked.
        .cte("taken")
    )


def _select_above_marks(
    connection: Connection,
    is_open: ColumnElement[bool],
    marks: Mapping[str, WaterMarks],
    other_marks: WaterMarks,
    limit: int,
) -> list[Select[tuple[int, float]]]:
    """A query for each pair of an index and a mark: keys, and how many times the mark each is full."""
    groups: dict[WaterMarks, list[str]] = {}
    of_short_threads = any(map(_is_below_step, (*marks.values(), other_marks)))
    for name in _list_agents(connection, of_short_threads=of_short_threads):
        groups.setdefault(marks.get(name, other_marks), []).append(name)
    conditions = [(threads.c.agent.in_(names), group) for group, names in groups.items()]
    conditions.append((threads.c.agent.is_(None), other_marks))
    above_window = [
        _select_above_window(and_(of_agents, is_open), limit)
        for of_agents, group in conditions
        if group.high_tokens > 0
    ]
    return above_window + [
        _select_fullest(and_(of_agents, is_open), unit, high, limit)
        for of_agents, group in conditions
        for unit, high in (("messages", group.high_messages), ("tokens", group.high_tokens))
        if high > 0
    ]


def _select_fullest(condition: ColumnElement[bool], unit: str, high: int, limit: int) -> Select[tuple[int, float]]:
    counter, step = threads.c[f"uncovered_{unit}"], threads.c[f"uncovered_{unit}_step"]
    # The index knows the steps only: of the lowest one, some threads are below the mark.
    is_above = and_(condition, step >= high // _STEPS[unit], counter >= high)
    if high >= _STEPS[unit]:
        is_above = and_(is_above, _HAS_STEP[unit])
    # The subquery keeps ORDER BY and LIMIT on their own side of the UNION, on SQLite too.
    fullness = (cast(counter, Float) / high).label("fullness")
    fullest_threads = (
        select(threads.c.key, fullness).where(is_above).order_by(step.desc(), counter.desc()).limit(limit).subquery()
    )
    return select(fullest_threads.c.key, fullest_threads.c.fullness)


def _select_above_window(condition: ColumnElement[bool], limit: int) -> Select[tuple[int, float]]:
    """Threads whose model takes so little that they are due before their agent's mark."""
    fullness = (cast(threads.c.uncovered_tokens, Float) * 2 / threads.c.window_tokens).label("fullness")
    is_above = and_(condition, text(FILLS_WINDOW))
    fullest_threads = select(threads.c.key, fullness).where(is_above).order_by(fullness.desc()).limit(limit).subquery()
    return select(fullest_threads.c.key, fullest_threads.c.fullness)


def _is_below_step(marks: WaterMarks) -> bool:
    """Whether threads are due that no index holds."""
    return 0 < marks.high_messages < UNCOVERED_MESSAGES_STEP or 0 < marks.high_tokens < UNCOVERED_TOKENS_STEP


def _list_agents(connection: Connection, *, of_short_threads: bool) -> Collection[str]:
    """The agents of the threads that may be due, one step in an index each; those of short ones out of all threads."""
    if of_short_threads:
        statement = select(threads.c.agent).where(threads.c.agent.is_not(None)).distinct()
        return connection.execute(statement).scalars().all()
    indexes: dict[str, ColumnElement[bool] | TextClause] = {"window": text(FILLS_WINDOW)}
    indexes |= {unit: and_(_is_tried, has_step) for unit, has_step in _HAS_STEP.items()}
    steps = [_step_through(name, where) for name, where in indexes.items()]
    return list(connection.execute(union(*steps)).scalars())  # type: ignore[arg-type]


def _step_through(name: str, of_index: ColumnElement[bool] | TextClause) -> Select[tuple[str]]:
    """The agents of the threads in one of the indexes."""
    lowest_agent = select(func.min(threads.c.agent).label("agent")).where(of_index)
    first = lowest_agent.cte(f"agents_by_{name}", recursive=True)
    next_agent = lowest_agent.where(threads.c.agent > first.c.agent).scalar_subquery()
    names = first.union_all(select(next_agent).where(first.c.agent.is_not(None)))
    return select(names.c.agent).where(names.c.agent.is_not(None))


@read_only
def is_above_high_mark(connection: Connection, tenant: str, thread_id: str, *, marks: WaterMarks) -> bool:
    """Whether a thread is above its high mark, reserved or not."""
    row = connection.execute(
        select(threads.c.uncovered_messages, threads.c.uncovered_tokens, threads.c.window_tokens).where(
            is_row_of(tenant, thread_id)
        )
    ).one_or_none()
    if row is None:
        return False
    marks = marks.within(row.window_tokens)
    return marks.are_passed(messages=row.uncovered_messages, tokens=row.uncovered_tokens)


def renew(connection: Connection, due: DueThread) -> datetime | None:
    """Renew the reservation for as long again; None where it is not the thread's any more.

    Locks the thread's row: until the transaction ends its summary cannot be withdrawn.
    """
    reserved_until = clock(plus_seconds=RESERVATION_SECONDS)
    statement = update(threads).where(_is_reserved(due)).values(summary_retry_at=reserved_until)
    return connection.execute(statement.returning(threads.c.summary_retry_at)).scalar_one_or_none()


def note_failure(connection: Connection, due: DueThread, *, is_last_possible: bool = True) -> int:
    """Note that the thread's summary failed: the next attempt comes later, each time after twice as long.

    `is_last_possible` is false of a failure that passes by itself: after it the thread is not given up, however
    often it failed. Returns how often that was in a row; 0 where the reservation is not the thread's any more.
    """
    failures = threads.c.summary_failures
    most = MAX_SUMMARY_FAILURES if is_last_possible else MAX_SUMMARY_FAILURES - 1
    statement = (
        update(threads)
        .where(_is_reserved(due))
        .values(
            summary_failures=case((failures < most, failures + 1), else_=failures),
            summary_retry_at=clock(plus_seconds=RETRY_SECONDS * literal(1).bitwise_lshift(failures)),
        )
        .returning(failures)
    )
    return connection.execute(statement).scalar_one_or_none() or 0


def postpone(connection: Connection, due: DueThread, *, seconds: float) -> None:
    """Make the thread due again after a while, if the reservation is still its own."""
    statement = update(threads).where(_is_reserved(due))
    connection.execute(statement.values(summary_retry_at=clock(plus_seconds=seconds)))


def _is_reserved(due: DueThread) -> ColumnElement[bool]:
    return and_(threads.c.key == due.key, threads.c.summary_retry_at == due.reserved_until)


def reset_failures(connection: Connection, key: int) -> None:
    """Forget failures and pauses: the thread is due as any other."""
    connection.execute(update(threads).where(threads.c.key == key).values(summary_failures=0, summary_retry_at=None))
