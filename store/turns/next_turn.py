"""The next turn of a thread, decided here for claim, settle and sweep, so that they never disagree.

The *head* is the turn that has begun, else the oldest unfinished one that is due. A turn that was sent
for a later time is not due before that. A turn that has begun stays the head, whatever earlier
one comes due or is committed late: a retrying head blocks its thread.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, false, func, literal_column, not_, or_, select, true
from sqlalchemy.sql.selectable import NamedFromClause

from store.database.column_types import clock
from store.tables import turns, workers
from store.tables.turns import is_unfinished_in_thread, unfinished

#: All turns, beside the one that a condition is about. Made once: to name all columns of an alias takes longer than the
#: remainder of a statement.
other_turns = turns.alias("others")
_siblings, _ahead = turns.alias("siblings"), turns.alias("ahead")
#: An alias: where a statement reads `workers` itself, its column would be compared with itself.
_living = workers.alias("living_workers")
#: When a turn is only to be ended, as its index has it.
must_end_at = func.coalesce(turns.c.cancel_requested_at, turns.c.wait_expires_at, turns.c.deadline)


def _is_due(source: NamedFromClause) -> ColumnElement[bool]:
    return or_(source.c.attempt > 0, source.c.not_before.is_(None), source.c.not_before <= clock())


is_due = _is_due(turns)


def can_start() -> ColumnElement[bool]:
    """Whether a head's state lets it be claimed now, if no worker holds its thread."""
    has_work = and_(turns.c.state != "waiting", or_(turns.c.retry_at.is_(None), turns.c.retry_at <= clock()))
    return and_(unfinished, or_(has_work, must_end()))


def must_end() -> ColumnElement[bool]:
    """Whether the turn is only to be ended: it was asked to stop, or its deadline or its wait is over."""
    is_over = or_(turns.c.deadline <= clock(), turns.c.wait_expires_at <= clock())
    return or_(turns.c.cancel_requested_at.is_not(None), is_over)


def head_of(thread_key: int, *, except_turn_id: str | None = None) -> ScalarSelect[Any]:
    """The position of the thread's head, by which it is found in its thread; `except_turn_id`, just ending, is none."""
    statement = _first_due(turns, thread_key)
    if except_turn_id is not None:
        statement = statement.where(turns.c.id != except_turn_id)
    return statement.scalar_subquery()


def _first_due(source: NamedFromClause, thread_key: int | ColumnElement[int]) -> Select[Any]:
    """Select a thread's head among these turns: one step in the index, however many wait behind it."""
    of_thread = and_(source.c.thread_key == thread_key, is_unfinished_in_thread(source.name), _is_due(source))
    # In the order of the index, word for word.
    order = source.c.attempt == literal_column("0"), source.c.arrival_seq
    return select(source.c.arrival_seq).where(of_thread).order_by(*order).limit(1)


def is_head() -> ColumnElement[bool]:
    """Whether a turn is the head of its thread: a step in the index for each turn that is asked about."""
    return turns.c.arrival_seq == _first_due(_siblings, turns.c.thread_key).scalar_subquery()


def head_id_of(thread_key: ColumnElement[int]) -> ScalarSelect[Any]:
    """The id of a thread's head; null where the thread is free."""
    return _first_due(_ahead, thread_key).with_only_columns(_ahead.c.id).scalar_subquery()


def is_head_awaited(thread_key: ColumnElement[int], priority: int) -> ColumnElement[bool]:
    """Whether a thread's head has a wake-up on the way of this priority at least, or waits: for its retry, a decision.

    Whoever ends such a turn looks for the next one.
    """
    has_wake_up = and_(_ahead.c.notified_at.is_not(None), _ahead.c.priority >= priority)
    is_queued = and_(_ahead.c.state == "queued", or_(has_wake_up, _ahead.c.retry_at > clock()))
    is_awaited = or_(_ahead.c.state == "waiting", is_queued)
    return func.coalesce(_first_due(_ahead, thread_key).with_only_columns(is_awaited).scalar_subquery(), false())


def next_turn_after(thread_key: int, turn_id: str) -> ScalarSelect[Any]:
    """The id of the turn that can start once `turn_id` has ended, if there is one."""
    # The turn of a library process may be the head without being a worker's to start.
    return (
        select(turns.c.id)
        .where(
            turns.c.thread_key == thread_key,
            turns.c.arrival_seq == head_of(thread_key, except_turn_id=turn_id),
            can_start(),
            turns.c.local_process_id.is_(None),
        )
        .scalar_subquery()
    )


def is_within_running_limit(tenant_max_running: int) -> ColumnElement[bool]:
    """Whether the turn's tenant runs fewer turns than its limit. Claims in the same moment may exceed it."""
    if not tenant_max_running:
        return true()
    full_tenants = (
        select(other_turns.c.tenant)
        .where(other_turns.c.state == "running")
        .group_by(other_turns.c.tenant)
        .having(func.count() >= tenant_max_running)
    )
    # A turn that broke off in the middle is counted already.
    return or_(turns.c.state == "running", turns.c.tenant.not_in(full_tenants))


def is_abandoned() -> ColumnElement[bool]:
    """Whether the turn's library process is dead: no other process may run the turn, any may end it."""
    return and_(turns.c.local_process_id.is_not(None), not_(is_alive(turns.c.local_process_id)))


def is_alive(worker_id: Any) -> ColumnElement[bool]:
    """Whether a worker is alive, and with it the leases that it holds."""
    return select(_living.c.id).where(_living.c.id == worker_id, _living.c.lease_expires_at > clock()).exists()
