"""Turn boundaries: a retention cutoff or a summary's range may end only where a turn ends.

The next message is a user's. Near any position a boundary is found from the messages around it
(`find_at_or_below`, `find_at_or_above`); a walk from a boundary, or from the end, reads each turn that it
passes once (`walk_oldest_first`, `walk_newest_first`), however far apart library code pushed its messages.

What stays true: a boundary parts no tool call from its result, and no question from its answers, also
where library code appended messages between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, exists, func, not_, select

from store.database.statements import AnyRow
from store.history.counters import estimate_of
from store.lineage import OPEN_END, Lineage, Part, select_range
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


def find_at_or_below(connection: Connection, lineage: Lineage, seq: int, *, above: int) -> int:
    """The highest boundary from `above` to `seq`; `above` where there is none between."""
    for part in reversed(lineage.slices(above + 1, seq + 1)):
        first_seq = _find_beginning(connection, lineage, part, is_last=True)
        if first_seq is not None:
            return first_seq - 1
    return above


def find_at_or_above(connection: Connection, lineage: Lineage, seq: int) -> int | None:
    """The lowest boundary from `seq` on; None where a turn goes on from there to the end."""
    for part in lineage.slices(seq, OPEN_END):
        first_seq = _find_beginning(connection, lineage, part)
        if first_seq is not None:
            return first_seq - 1
    return None


def walk_oldest_first(
    connection: Connection, lineage: Lineage, *, after_seq: int, to_seq: int, page_size: int
) -> Iterator[MessagePosition]:
    """The messages behind a boundary, up to and with `to_seq`, read in pages as they are asked for."""
    open_until_seq = after_seq
    while True:
        rows = _read_page(connection, lineage, after_seq, to_seq, limit=page_size)
        for row in rows:
            yield MessagePosition(row.seq, row.tokens, is_beginning=row.role == "user" and open_until_seq < row.seq)
            open_until_seq = max(open_until_seq, row.turn_ends or row.seq)
        if len(rows) < page_size:
            return
        after_seq = rows[-1].seq


def walk_newest_first(
    connection: Connection, lineage: Lineage, *, after_seq: int, last_seq: int, page_size: int
) -> Iterator[MessagePosition]:
    """The messages from the history's end, `last_seq`, down to `after_seq`, read in pages."""
    open_from_seq = last_seq
    while True:
        rows = _read_page(connection, lineage, after_seq, last_seq, limit=page_size, is_descending=True)
        for row in rows:
            open_from_seq = min(open_from_seq, row.turn_begins or row.seq)
            yield MessagePosition(row.seq, row.tokens, is_beginning=row.role == "user" and open_from_seq >= row.seq)
        if len(rows) < page_size:
            return
        last_seq = rows[-1].seq - 1


def _read_page(
    connection: Connection, lineage: Lineage, after_seq: int, to_seq: int, *, limit: int, is_descending: bool = False
) -> list[AnyRow]:
    """Messages of a range, each with the first and the last seq of its turn in this history."""
    tokens = func.coalesce(messages.c.tokens, estimate_of(messages)).label("tokens")
    columns = (messages.c.seq, messages.c.role, messages.c.turn_id, tokens)
    newest = select_range(lineage, columns, after_seq=after_seq, to_seq=to_seq, newest_first=is_descending, limit=limit)
    page = newest.cte("page")
    # By turn, not by message: a turn of hundreds of messages is looked up once.
    spans = (
        select(
            _of_turn.c.turn_id,
            func.min(_of_turn.c.seq).label("turn_begins"),
            func.max(_of_turn.c.seq).label("turn_ends"),
        )
        .where(_of_turn.c.turn_id.in_(select(page.c.turn_id)), lineage.holds(_of_turn))
        .group_by(_of_turn.c.turn_id)
        .cte("spans")
    )
    statement = select(page.c.seq, page.c.role, page.c.tokens, spans.c.turn_begins, spans.c.turn_ends)
    statement = statement.outerjoin_from(page, spans, spans.c.turn_id == page.c.turn_id)
    return list(connection.execute(statement.order_by(page.c.seq.desc() if is_descending else page.c.seq)))


def _find_beginning(connection: Connection, lineage: Lineage, part: Part, *, is_last: bool = False) -> int | None:
    """The seq of the first user's message, or the last one, with which a turn begins, and none is under way."""
    is_beginning = (_first.c.role == "user") & not_(_is_inside_a_turn(lineage, part))
    statement = select(_first.c.seq).where(part.holds(_first), is_beginning)
    order = _first.c.seq.desc() if is_last else _first.c.seq
    seq = connection.execute(statement.order_by(order).limit(1)).scalar_one_or_none()
    return None if seq is None else int(seq)


def _is_inside_a_turn(lineage: Lineage, part: Part) -> ColumnElement[bool]:
    """Whether the turn before a message has messages after it, too: a thread runs one turn at a time."""
    turns_before = [
        select(_before.c.turn_id)
        .where(earlier.holds(_before), _before.c.seq < _first.c.seq, _before.c.turn_id.is_not(None))
        .order_by(_before.c.seq.desc())
        .limit(1)
        .correlate(_first)
        .scalar_subquery()
        # The newest part first: the others are looked at where that has no turn.
        for earlier in reversed(lineage.slices(0, part.to_seq))
    ]
    turn_before = func.coalesce(*turns_before) if len(turns_before) > 1 else turns_before[0]
    return (
        exists()
        .where(lineage.holds(_after), _after.c.seq >= _first.c.seq, _after.c.turn_id == turn_before)
        .correlate(_first)
    )
