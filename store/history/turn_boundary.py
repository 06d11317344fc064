"""Where a history may be parted, by a cut or by a summary's end: where a turn ends.

What follows begins with a user's message. Near any place this is asked of the messages around it
(`at_or_below`, `at_or_above`); a walk from such a place, or from the end, needs to look at each turn
that it passes once (`oldest_first`, `newest_first`), however far apart library code pushed its messages.

What stays true: a boundary parts no tool call from its result, and no question from its answers, also
where library code appended messages between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, not_, select

from store.database.statements import AnyRow
from store.history.counters import estimate_of
from store.tables import messages

_first = messages.alias("first")
_before = messages.alias("before")
_after = messages.alias("after")
_of_turn = messages.alias("of_turn")


@dataclass(frozen=True, slots=True)
class Place:
    """A message on a walk through a history."""

    seq: int
    tokens: int
    #: A turn begins with it, and none is under way: the history may be parted right before it.
    is_beginning: bool


def at_or_below(connection: Connection, key: int, seq: int, *, above: int) -> int:
    """The highest boundary from `above` to `seq`; `above` where there is none between."""
    between = _beginnings(key).where(_first.c.seq > above + 1, _first.c.seq <= seq + 1)
    found = connection.execute(between.order_by(_first.c.seq.desc())).scalar_one_or_none()
    return above if found is None else int(found) - 1


def at_or_above(connection: Connection, key: int, seq: int) -> int | None:
    """The lowest boundary from `seq` on; None where a turn goes on from there to the end."""
    behind = _beginnings(key).where(_first.c.seq > seq)
    found = connection.execute(behind.order_by(_first.c.seq)).scalar_one_or_none()
    return None if found is None else int(found) - 1


def oldest_first(
    connection: Connection, key: int, *, after_seq: int, to_seq: int, page: int
) -> Iterator[Place]:
    """The messages behind a boundary, up to and with `to_seq`, read in pages as they are asked for."""
    reach = after_seq
    while True:
        rows = _page(connection, key, after_seq, to_seq, limit=page)
        for row in rows:
            yield Place(row.seq, row.tokens, is_beginning=row.role == "user" and reach < row.seq)
            reach = max(reach, row.turn_ends or row.seq)
        if len(rows) < page:
            return
        after_seq = rows[-1].seq


def newest_first(
    connection: Connection, key: int, *, after_seq: int, last_seq: int, page: int
) -> Iterator[Place]:
    """The messages from the history's end, `last_seq`, down to `after_seq`, read in pages."""
    reach = last_seq
    while True:
        rows = _page(connection, key, after_seq, last_seq, limit=page, is_descending=True)
        for row in rows:
            reach = min(reach, row.turn_begins or row.seq)
            yield Place(row.seq, row.tokens, is_beginning=row.role == "user" and reach >= row.seq)
        if len(rows) < page:
            return
        last_seq = rows[-1].seq - 1


def _page(
    connection: Connection, key: int, after_seq: int, to_seq: int, *, limit: int, is_descending: bool = False
) -> list[AnyRow]:
    """Messages of a stretch, each with the first and the last place of its turn."""
    tokens = func.coalesce(messages.c.tokens, estimate_of(messages)).label("tokens")
    page = (
        select(messages.c.seq, messages.c.role, messages.c.turn_id, tokens)
        .where(messages.c.thread_key == key, messages.c.seq > after_seq, messages.c.seq <= to_seq)
        .order_by(messages.c.seq.desc() if is_descending else messages.c.seq)
        .limit(limit)
        .cte("page")
    )
    # By turn, not by message: a turn of hundreds of messages is looked up once.
    spans = (
        select(
            _of_turn.c.turn_id,
            func.min(_of_turn.c.seq).label("turn_begins"),
            func.max(_of_turn.c.seq).label("turn_ends"),
        )
        .where(_of_turn.c.turn_id.in_(select(page.c.turn_id)))
        .group_by(_of_turn.c.turn_id)
        .cte("spans")
    )
    found = select(page.c.seq, page.c.role, page.c.tokens, spans.c.turn_begins, spans.c.turn_ends)
    found = found.outerjoin_from(page, spans, spans.c.turn_id == page.c.turn_id)
    return list(connection.execute(found.order_by(page.c.seq.desc() if is_descending else page.c.seq)))


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
