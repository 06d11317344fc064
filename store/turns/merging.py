"""Merging: messages that were sent to be answered together are answered by the turn of the first of them.

What stays true: it is decided when that turn is claimed first, under the lock of the thread's row, and never again, so
that a turn answers the same messages in each attempt. What is merged has the same agent and the same user: tools act
for the user of their turn. `store/functions/claim_turn_v1.sql` does the same.
"""

from itertools import takewhile

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from conversation.when_busy import WhenBusy
from store.database.column_types import clock
from store.database.statements import AnyRow
from store.tables import turns
from store.tables.turns import is_unfinished_in_thread
from store.turns.next_turn import must_end

_COLUMNS = tuple(
    turns.c[name]
    for name in (
        *("id", "arrival_seq", "state", "when_busy", "agent", "sender", "deadline"),
        *("local_process_id", "cancel_requested_at"),
    )
)


def merge_behind(connection: Connection, thread: AnyRow, may_start: ColumnElement[bool], merge_max: int) -> None:
    """Merge those behind the thread's head into it that fit, where it is about to be claimed first."""
    begins = turns.c.attempt == 0, turns.c.when_busy == WhenBusy.MERGE, turns.c.local_process_id.is_(None)
    is_kept = ~func.coalesce(must_end(), False)
    head = connection.execute(select(*_COLUMNS).where(may_start, *begins, is_kept)).one_or_none()
    if head is None:
        return
    is_due = or_(turns.c.not_before.is_(None), turns.c.not_before <= clock())
    behind = select(*_COLUMNS).where(
        turns.c.thread_key == thread.key, is_unfinished_in_thread(), turns.c.arrival_seq > head.arrival_seq, is_due
    )
    rows = connection.execute(behind.order_by(turns.c.arrival_seq).limit(merge_max - 1)).all()
    merged_ids = [row.id for row in takewhile(lambda row: _fits(row, head, thread.owner), rows)]
    if merged_ids:
        values = {"state": "merged", "merged_into": head.id, "finished_at": clock()}
        statement = update(turns).where(turns.c.id.in_(merged_ids))
        connection.execute(statement.values(values | {"notified_at": None, "retry_at": None}))


def _fits(row: AnyRow, head: AnyRow, owner: str | None) -> bool:
    """Whether a turn may be answered with another one."""
    is_free = row.state == "queued" and row.local_process_id is None and row.cancel_requested_at is None
    is_alike = row.agent == head.agent and (row.sender or owner) == (head.sender or owner)
    return is_free and is_alike and row.when_busy == WhenBusy.MERGE and row.deadline == head.deadline
