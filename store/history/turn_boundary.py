"""Turn boundaries: a retention cutoff or a summary's range may end only where a turn ends.

The next message is a user's. Near any position a boundary is found from the messages around it
(`find_at_or_below`, `find_at_or_above`); a walk from a boundary, or from the end, reads each turn that it
passes once (`walk_oldest_first`, `walk_newest_first`), however far apart library code pushed its messages.

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
class MessagePosition:
    """The position of a message on a walk through a history."""

    seq: int
    tokens: int
    #: A turn begins with this message, and none is under way: the seq before it is a boundary.
    is_beginning: bool


def find_at_or_below(connection: Connection, key: int, seq: int, *, above: int) -> int:
    """The highest boundary from `above` to `seq`; `above` where there is none between."""
    between = _beginnings(key).where(_first.c.seq > above + 1, _first.c.seq <= seq + 1)
    first_seq = connection.execute(between.order_by(_first.c.seq.desc())).scalar_one_or_none()
    return above if first_seq is None else int(first_seq) - 1


def find_at_or_above(connection: Connection, key: int, seq: int) -> int | None:
    """The lowest boundary from `seq` on; None where a turn goes on from there to the end."""
    behind = _beginnings(key).where(_first.c.seq > seq)
    first_seq = connection.execute(behind.order_by(_first.c.seq)).scalar_one_or_none()
    return None if first_seq is None else int(first_seq) - 1


def walk_oldest_first(
    connection: Connection, key: int, *, after_seq: int, to_seq: int, page_size: int
) -> Iterator[MessagePosition]:
    """The messages behind a boundary, up to and with `to_seq`, read in pages as they are asked for."""
    open_until_seq = after_seq
    while True:
        rows = _read_page(connection, key, after_seq, to_seq, limit=page_size)
        for row in rows:
            yield MessagePosition(row.seq, row.tokens, is_beginning=row.role == "user" and open_until_seq < row.seq)
            open_until_seq = max(open_until_seq, row.turn_ends or row.seq)
        if len(rows) < page_size:
            return
        after_seq = rows[-1].seq


def walk_newest_first(
    connection: Connection, key: int, *, after_seq: int, last_seq: int, page_size: int
) -> Iterator[MessagePosition]:
    """The messages from the history's end, `last_seq`, down to `after_seq`, read in pages."""
    open_from_seq = last_seq
    while True:
        rows = _read_page(connection, key, after_seq, last_seq, limit=page_size, is_descending=True)
        for row in rows:
            open_from_seq = min(open_from_seq, row.turn_begins or row.seq)
            yield MessagePosition(row.seq, row.tokens, is_beginning=row.role == "user" and open_from_seq >= row.seq)
        if len(rows) < page_size:
            return
        last_seq = rows[-1].seq - 1


def _read_page(
    connection: Connection, key: int, after_seq: int, to_seq: int, *, limit: int, is_descending: bool = False
) -> list[AnyRow]:
    """Messages of a range, each with the first and the last seq of its turn."""
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
    statement = select(page.c.seq, page.c.role, page.c.tokens, spans.c.turn_begins, spans.c.turn_ends)
    statement = statement.outerjoin_from(page, spans, spans.c.turn_id == page.c.turn_id)
    return list(connection.execute(statement.order_by(page.c.seq.desc() if is_descending else page.c.seq)))


def _beginnings(key: int) -> Select[Any]:
    """The seq of a user's message with which a turn begins, and none is under way."""
    is_beginning = (_first.c.role == "user") & not_(_is_inside_a_turn(key))
    return select(_first.c.seq).where(_first.c.thread_key == key, is_beginning).limit(1)


def _is_inside_a_turn(key: int) -> ColumnElement[bool]:
    """Whether the turn before a message has messages after it, too: a thread runs one turn at a time."""
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
