"""The messages of a thread, page by page, in either direction.

What stays true: a page costs the same number of statements, wherever it begins and however long the history is, and
bounded memory, however long its messages are; a message that retention hides is on none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import Connection, func, select

from conversation.arguments import check_one_of, check_whole_number
from conversation.cursor import read_cursor, write_cursor
from conversation.events import number_of_switch
from conversation.message import Message
from conversation.pending_message import PendingMessage
from store.database.statements import AnyRow
from store.history import message_rows
from store.history.visibility import cutoff_of
from store.lineage import OPEN_END, Lineage, select_range
from store.tables import messages
from store.threads.pending_messages import load_pending
from store.threads.visible_threads import Viewer, find_thread
from store.turns.message_numbers import number_messages

PageOrder = Literal["asc", "desc"]
PAGE_ORDERS = get_args(PageOrder)
#: Messages of one page, at most.
PAGE_MAX = 200
#: Bytes of their texts: with the message that comes to as many, a page ends.
PAGE_MAX_BYTES = 4 * 1024 * 1024
#: Messages that wait, of one page, at most: the newest.
PENDING_MAX = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage:
    """Messages of a thread, in the order that was asked for."""

    messages: tuple[Message, ...]
    #: The number of the event that each was, by its id.
    numbers: Mapping[str, int]
    #: Messages that wait for a worker, the oldest first: on the page that has the end of the history alone.
    pending: tuple[PendingMessage, ...] = ()
    #: None on the last page.
    next_cursor: str | None = None


def list_messages(
    connection: Connection,
    viewer: Viewer,
    thread_id: str,
    *,
    limit: int,
    cursor: str | None = None,
    order: PageOrder = "asc",
) -> MessagePage:
    """List messages of a thread, the oldest first or the newest first. Raises `ThreadNotFound`."""
    limit = check_whole_number("limit", limit, minimum=1, maximum=PAGE_MAX)
    check_one_of("order", order, PAGE_ORDERS)
    after_seq = None
    if cursor is not None:
        values = read_cursor(cursor, [int], fix="pass next_cursor of the page before, and the same order")
        after_seq = int(values[0])  # type: ignore[arg-type]
    thread = find_thread(connection, viewer, thread_id)
    lineage = Lineage.of(thread)
    # First of all, so that a message which is claimed meanwhile is seen twice, and not never.
    may_have_end = order == "asc" or after_seq is None
    pending = load_pending(connection, viewer.tenant, thread_id, last=min(limit, PENDING_MAX)) if may_have_end else ()
    rows, has_more = _load_rows(connection, lineage, after_seq, order, limit)
    page = message_rows.load(connection, lineage, rows)
    if order == "asc" and has_more:
        pending = ()
    claimed_ids = {message.id for message in page}
    return MessagePage(
        messages=page,
        numbers=_number_page(connection, thread, page if order == "asc" else page[::-1]),
        pending=tuple(each for each in pending if each.message.id not in claimed_ids),
        next_cursor=write_cursor(page[-1].seq) if has_more else None,
    )


def _number_page(connection: Connection, thread: AnyRow, page: Sequence[Message]) -> Mapping[str, int]:
    """The numbers behind which a stream goes on: whoever has read the chosen branch is told of no switch to it."""
    numbers = number_messages(connection, thread, page)
    switch = 0 if thread.chosen_fence is None else number_of_switch(thread.chosen_fence)
    return {message_id: max(number, switch) for message_id, number in numbers.items()}


def _load_rows(
    connection: Connection, lineage: Lineage, after_seq: int | None, order: PageOrder, limit: int
) -> tuple[list[AnyRow], bool]:
    """The rows of a page, and whether there are more behind it."""
    statement = select_range(
        lineage,
        message_rows.stored_columns(),
        after_seq=after_seq if order == "asc" and after_seq is not None else 0,
        to_seq=after_seq - 1 if order == "desc" and after_seq is not None else OPEN_END,
        where=[messages.c.seq > cutoff_of(lineage.key), messages.c.rolled_back.is_(False)],
        newest_first=order == "desc",
        # One more, to know whether another page follows.
        limit=limit + 1,
    )
    selected = statement.subquery()
    length = func.octet_length if connection.dialect.name == "postgresql" else func.length
    seq = selected.c.seq if order == "asc" else selected.c.seq.desc()
    bytes_before = func.sum(length(selected.c.content)).over(order_by=seq, rows=(None, -1))
    measured = select(selected, bytes_before.label("before"), func.count().over().label("selected")).subquery()
    fits = func.coalesce(measured.c.before, 0) < PAGE_MAX_BYTES
    seq = measured.c.seq if order == "asc" else measured.c.seq.desc()
    rows = list(connection.execute(select(measured).where(fits).order_by(seq)))[:limit]
    return rows, bool(rows) and rows[0].selected > len(rows)
