"""Pending messages: those of a thread that wait in the inbox, as its readers see them.

What stays true: a message is pending or in the history, never both, for a claim moves it in one transaction; one
whose turn was cancelled before it began is neither.
"""

from typing import Any

from sqlalchemy import Connection, Select, literal, null, select

from conversation.pending_message import PendingMessage
from conversation.turn import TurnState
from store.history import message_rows
from store.history.message_rows import HISTORY_COLUMNS, SHARED_COLUMNS
from store.history.row_ids import is_row_of
from store.lineage import row_lineage
from store.tables import inbox_messages, threads, turns
from store.tables.turns import unfinished


def load_pending(
    connection: Connection, tenant: str, thread_id: str, *, last: int | None = None
) -> tuple[PendingMessage, ...]:
    """Load a thread's pending messages in the order of their arrival, or the `last` ones."""
    rows = connection.execute(_newest_first(tenant, thread_id).limit(last)).all()[::-1]
    if not rows:
        return ()
    messages = message_rows.load(connection, row_lineage(rows[0].thread_key), rows)
    return tuple(
        PendingMessage(message, row.turn_id, TurnState(row.turn_state))
        for message, row in zip(messages, rows, strict=True)
    )


def _newest_first(tenant: str, thread_id: str) -> Select[Any]:
    """The rows of the inbox in the columns of a history's, and behind them the turn's own."""
    history_defaults = {"state": literal("complete").label("state")}
    return (
        select(
            null().label("seq"),
            inbox_messages.c.turn_id,
            *(inbox_messages.c[name] for name in SHARED_COLUMNS),
            *(history_defaults.get(name, null().label(name)) for name in HISTORY_COLUMNS),
            turns.c.thread_key,
            turns.c.state.label("turn_state"),
        )
        .select_from(threads.join(turns).join(inbox_messages))
        .where(is_row_of(tenant, thread_id), unfinished)
        .order_by(turns.c.arrival_seq.desc(), inbox_messages.c.index.desc())
    )
