"""Where a history may be cut: where a turn ends. What is left begins with a user's message.

What stays true: a cut parts no tool call from its result, and no question from its answers, also
where library code appended messages between them.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, not_, select

from store.tables import messages

_first = messages.alias("first")
_before = messages.alias("before")
_after = messages.alias("after")


def at_or_below(connection: Connection, key: int, seq: int, *, above: int) -> int:
    """The highest cut from `above` to `seq`; `above` where there is none between."""
    between = _beginnings(key).where(_first.c.seq > above + 1, _first.c.seq <= seq + 1)
    found = connection.execute(between.order_by(_first.c.seq.desc())).scalar_one_or_none()
    return above if found is None else int(found) - 1


def at_or_above(connection: Connection, key: int, seq: int) -> int | None:
    """The lowest cut from `seq` on; None where a turn goes on from there to the end."""
    behind = _beginnings(key).where(_first.c.seq > seq)
    found = connection.execute(behind.order_by(_first.c.seq)).scalar_one_or_none()
    return None if found is None else int(found) - 1


def _beginnings(key: int) -> Select[Any]:
    """The seq of a user's message with which a turn begins, and none is under way."""
    is_beginning = (_first.c.role == "user") & not_(_is_inside_a_turn(key))
    return select(_first.c.seq).where(_first.c.thread_key == key, is_beginning).limit(1)


def _is_inside_a_turn(key: int) -> ColumnElement[bool]:
    """The turn before this message has more to say behind it: one at a time runs in a thread."""
    turn_before = (
        select(_before.c.turn_id)
        .where(_before.c.thread_key == key, _before.c.seq < _first.c.seq, _before.c.turn_id.is_not(None))
        .order_by(_before.c.seq.desc())
        .limit(1)
        .correlate(_first)
        .scalar_subquery()
    )
    return (
        exists()
        .where(_after.c.thread_key == key, _after.c.seq >= _first.c.seq, _after.c.turn_id == turn_before)
        .correlate(_first)
    )
