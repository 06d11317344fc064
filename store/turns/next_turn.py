"""Which turn of a thread is next. Claim, settle and sweep ask here, so that they never disagree.

The *head* is the turn that has begun, else the oldest unfinished one that is due. One that was sent
for a later time is not in the order before that. One that has begun stays the head, whatever earlier
one comes due or is committed late: a retrying head blocks its thread.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, func, not_, or_, select, true

from store.database.column_types import clock
from store.tables import turns, workers
from store.tables.turns import unfinished

#: The turns of everybody, beside the one that is looked at.
others = turns.alias("others")
has_begun = turns.c.attempt > 0
in_the_order = or_(has_begun, turns.c.not_before.is_(None), turns.c.not_before <= clock())


def can_start() -> ColumnElement[bool]:
    """A head in this state may be claimed now, if nobody holds its thread."""
    return and_(
        turns.c.state.in_(["queued", "running"]),
        or_(turns.c.retry_at.is_(None), turns.c.retry_at <= clock()),
    )


def head_of(thread_key: int, *, besides: str | None = None) -> ScalarSelect[Any]:
    """The position of the thread's head; `besides` leaves one turn out that is just ending."""
    statement = select(turns.c.position).where(turns.c.thread_key == thread_key, unfinished, in_the_order)
    if besides is not None:
        statement = statement.where(turns.c.id != besides)
    return statement.order_by(~has_begun, turns.c.position).limit(1).scalar_subquery()


def heads() -> Select[Any]:
    """The positions of the heads of all threads."""
    begun = func.min(turns.c.position).filter(has_begun)
    oldest = func.min(turns.c.position)
    due = select(func.coalesce(begun, oldest)).where(unfinished, in_the_order)
    return due.group_by(turns.c.thread_key)


def next_after(thread_key: int, turn_id: str) -> ScalarSelect[Any]:
    """The id of the turn that can start once `turn_id` has ended, if there is one."""
    # `waiting` and other runners' turns stand at the head without being ours to start.
    return (
        select(turns.c.id)
        .where(
            turns.c.position == head_of(thread_key, besides=turn_id),
            can_start(),
            turns.c.runner.is_(None),
        )
        .scalar_subquery()
    )


def has_room(tenant_max_running: int) -> ColumnElement[bool]:
    """The turn's tenant runs fewer turns than it may. Two claims at once may both take the last place."""
    if not tenant_max_running:
        return true()
    full = (
        select(others.c.tenant)
        .where(others.c.state == "running")
        .group_by(others.c.tenant)
        .having(func.count() >= tenant_max_running)
    )
    # One that broke off in the middle holds its place already.
    return or_(turns.c.state == "running", turns.c.tenant.not_in(full))


def is_abandoned() -> ColumnElement[bool]:
    """A turn of a library caller whose process is dead: nobody else may run it, anybody may end it."""
    return and_(turns.c.runner.is_not(None), not_(is_alive(turns.c.runner)))


def is_alive(owner: Any) -> ColumnElement[bool]:
    """A lease lives while its worker's row does."""
    return select(workers.c.id).where(workers.c.id == owner, workers.c.until > clock()).exists()
