"""Removal of a row of `threads`: a thread, or one of its branches, with all that hangs on it.

What stays true: a row whose history others share stays for them, as nobody's: with their messages, and the turns of
these, and nothing that named the thread; no id leads to it, and it goes with the last of them. The id of a thread
stands for a branch that is there as long as there is one.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, select, update

from store.database.column_types import clock
from store.database.statements import AnyRow
from store.history.row_ids import nobodys_id
from store.retention import sharing
from store.retention.sharing import Range
from store.tables import messages, summaries, thread_context, threads, turns, webhook_deliveries
from store.tables.retention import pending_deletions

#: What names the thread, in the row of one that is left to others.
_NAMELESS: dict[str, Any] = {
    "root_key": None,
    "branch_name": None,
    "owner": None,
    "title": None,
    "begun_in": None,
    "ancestors": None,
    "metadata": {},
}


def remove_row(
    connection: Connection, thread: AnyRow, *, with_thread: bool = True, erasure_id: str | None = None
) -> dict[str, int]:
    """Delete a row of `threads`, which is locked, or leave it to those that share its history; returns counts.

    `with_thread` says that its thread goes: no id leads to what is left of it then. Its messages and turns that nobody
    shares are deleted before, by the caller.
    """
    state = connection.execute(_select_state(thread)).one()
    if thread.root_key is not None or not with_thread:
        _choose_another(connection, thread)
    if with_thread and state.has_left_branches:
        _part_from_thread(connection, thread)
    if state.is_shared or (thread.root_key is None and not with_thread):
        _leave_to_others(connection, thread, with_thread=with_thread)
    else:
        connection.execute(delete(threads).where(threads.c.key == thread.key))
    sharing.release(connection, thread, erasure_id=erasure_id)
    counts = {"summaries": state.summaries, "context": state.context}
    if thread.deleted_at is not None:
        return counts
    return counts | ({"threads": 1} if thread.root_key is None else {"branches": 1})


def _select_state(thread: AnyRow) -> Select[Any]:
    of_thread = (select(func.count()).where(table.c.thread_key == thread.key) for table in (summaries, thread_context))
    summary_count, context_count = (statement.scalar_subquery() for statement in of_thread)
    branch = threads.alias("branch")
    return select(
        summary_count.label("summaries"),
        context_count.label("context"),
        sharing.is_shared(thread.key).label("is_shared"),
        exists().where(branch.c.root_key == thread.key).label("has_left_branches"),
    )


def _choose_another(connection: Connection, thread: AnyRow) -> None:
    """Have the thread's id stand for another branch where it stood for this one: its first one, or the newest."""
    root_key = thread.key if thread.root_key is None else thread.root_key
    root = connection.execute(select(threads).where(threads.c.key == root_key)).one_or_none()
    if root is None or (root.chosen_key or root.key) != thread.key:
        return
    others = select(threads.c.key).where(
        threads.c.root_key == root_key, threads.c.key != thread.key, threads.c.deleted_at.is_(None)
    )
    newest = connection.execute(others.order_by(threads.c.key.desc()).limit(1)).scalar_one_or_none()
    is_first_one_free = root.deleted_at is None and root.key != thread.key
    chosen_key = None if is_first_one_free else newest
    connection.execute(update(threads).where(threads.c.key == root_key).values(chosen_key=chosen_key))


def _part_from_thread(connection: Connection, thread: AnyRow) -> None:
    """Have branches that stay for others be no branches of a thread that goes."""
    left = select(threads.c.key).where(threads.c.root_key == thread.key, threads.c.deleted_at.is_not(None))
    for key in connection.execute(left).scalars().all():
        connection.execute(update(threads).where(threads.c.key == key).values(**_NAMELESS, id=nobodys_id(key)))


def _leave_to_others(connection: Connection, thread: AnyRow, *, with_thread: bool) -> None:
    of_row = threads.c.key == thread.key
    values: dict[str, Any] = {
        "deleted_at": clock(),
        # Who works there finds its lease lost.
        "lease_owner": None,
        "fencing_token": threads.c.fencing_token + 1,
        "history_starts_after": thread.last_seq,
        "summary_id": None,
        "uncovered_messages": 0,
        "uncovered_tokens": 0,
    }
    if with_thread:
        values |= _NAMELESS | {"id": nobodys_id(thread.key), "chosen_key": None, "legal_hold": False}
    connection.execute(delete(pending_deletions).where(pending_deletions.c.thread_key == thread.key))
    connection.execute(update(threads).where(of_row).values(values))
    for table in (thread_context, summaries, webhook_deliveries):
        connection.execute(delete(table).where(table.c.thread_key == thread.key))
    # A request that is sent again is not answered by a turn of a thread that is gone.
    nameless: dict[str, Any] = {
        "idempotency_key": None,
        "request_digest": None,
        "metadata": {},
        "cancel_requested_by": None,
    }
    connection.execute(update(turns).where(turns.c.thread_key == thread.key).values(nameless))


def is_turn_shared(key: int, shared: Sequence[Range]) -> Any:
    """The condition for turns of a row of which others share a message, out of its shared ranges."""
    of_turn = (messages.c.thread_key == key) & (messages.c.turn_id == turns.c.id)
    return exists().where(of_turn, sharing.is_in(shared))
