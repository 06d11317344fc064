"""Interrupting: the turns that others of their thread were sent to end, by interrupting them or by rolling them back.

What stays true: who sends such a message stores its turn, and takes no lock. Whoever holds the lock of the thread's row
does what it asks, before anything else: a claim, a settling and a cancel. So the answer to which came first, the end of
a turn or what interrupts it, is the same for everybody. An interrupted turn that had not begun begins only to end, so
that what its user said stands in the history; one that is rolled back never does, but where another turn waits for it.
`store/functions/interrupt_turns_v1.sql` does the same.
"""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, literal, or_, select, text, update

from conversation.when_busy import WhenBusy
from store.database.column_types import clock
from store.database.function_calls import has_functions
from store.database.statements import AnyRow
from store.functions import SCHEMA
from store.tables import turns
from store.tables.turns import INTERRUPTING, UNFINISHED, is_unfinished

_asking, _before = turns.alias("asking"), turns.alias("before")
#: The predicate of the index, word for word.
_asks: ColumnElement[bool] = text(  # type: ignore[assignment]
    INTERRUPTING.replace("state in", "asking.state in").replace("when_busy", "asking.when_busy")
)


def interrupt_turns(connection: Connection, thread_key: int) -> None:
    """End the turns before those of a thread that interrupt. The caller holds the lock of the thread's row."""
    if has_functions(connection):
        connection.execute(text(f"SELECT {SCHEMA}.interrupt_turns_v1(:key)"), {"key": thread_key})
        return
    interrupt_in_statements(connection, thread_key)


def interrupt_in_statements(connection: Connection, thread_key: int) -> None:
    """As `interrupt_turns`, in plain statements."""
    columns = _asking.c.id, _asking.c.arrival_seq, _asking.c.created_at, _asking.c.when_busy
    statement = select(*columns).where(_asking.c.thread_key == thread_key, _asks).order_by(_asking.c.arrival_seq)
    for asking in connection.execute(statement).all():
        _interrupt_before(connection, thread_key, asking)


def _interrupt_before(connection: Connection, thread_key: int, asking: AnyRow) -> None:
    # A claim ends one that another turn waits for: it tells that turn.
    has_not_begun = (turns.c.state == "queued") & (turns.c.attempt == 0) & turns.c.parent_turn_id.is_(None)
    is_first = turns.c.cancel_requested_at.is_(None)
    rolls_back = asking.when_busy == WhenBusy.ROLLBACK
    asked_at, asked_by = (
        literal(asking.created_at, turns.c.cancel_requested_at.type),
        literal(asking.id, turns.c.interrupted_by.type),
    )
    values: dict[str, Any] = {
        "cancel_requested_at": case((is_first, asked_at), else_=turns.c.cancel_requested_at),
        "interrupted_by": case((is_first, asked_by), else_=turns.c.interrupted_by),
        # A turn that waits for its model is due now, so that its holder can end it.
        "retry_at": None,
    }
    if rolls_back:
        values |= {
            "rolled_back": True,
            "state": case((has_not_begun, "cancelled"), else_=turns.c.state),
            "finished_at": case((has_not_begun, clock()), else_=None),
        }
    is_before = and_(
        turns.c.thread_key == thread_key, text(f"turns.{UNFINISHED}"), turns.c.arrival_seq < asking.arrival_seq
    )
    was_due = or_(turns.c.attempt > 0, turns.c.not_before.is_(None), turns.c.not_before <= asked_at)
    is_new = or_(is_first, turns.c.rolled_back.is_(False)) if rolls_back else is_first
    connection.execute(update(turns).where(is_before, was_due, is_new).values(values))


def is_interrupted() -> ColumnElement[bool]:
    """Whether a turn, of `turns`, is to be ended by one that came after it, though nobody has told it so yet."""
    was_due = or_(turns.c.attempt > 0, turns.c.not_before.is_(None), turns.c.not_before <= _asking.c.created_at)
    came_after = _asking.c.arrival_seq > turns.c.arrival_seq
    return exists().where(_asking.c.thread_key == turns.c.thread_key, _asks, came_after, was_due)


@cache
def select_interrupted() -> Select[Any]:
    """Select turns that wait for their retry, and are to be ended by one that came after them."""
    waits = (
        _before.c.thread_key == _asking.c.thread_key,
        # As the index has it, which holds those that ended elsewhere.
        is_unfinished(_before.name),
        _before.c.state != "running",
        _before.c.attempt > 0,
    )
    came_after = _before.c.arrival_seq < _asking.c.arrival_seq
    return select(_before.c.id).join(_asking, and_(*waits, came_after)).where(_asks)
