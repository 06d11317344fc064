"""Steering: a turn that runs takes messages that were sent to it meanwhile into its journal.

What stays true: a message is taken in one transaction, under the lock of the thread's row and the fencing token: its
turn is merged, it leaves the inbox, and it stands in the journal of the turn that reads it, at its place among the
steps. So it is read there in each attempt, or it is still a turn of its own; never both, and never neither.
"""

from itertools import takewhile

from sqlalchemy import Connection, delete, exists, select, update

from conversation.errors import LeaseLost
from conversation.step import Step, input_step
from conversation.turn import Lease
from store.database.column_types import clock
from store.history import message_rows
from store.history.message_rows import HISTORY_COLUMNS, SHARED_COLUMNS
from store.lineage import row_lineage
from store.tables import inbox_messages, steps, threads, turns
from store.turns import journal


def take(connection: Connection, lease: Lease, turn_id: str, index: int, *, limit: int) -> list[Step]:
    """Take the messages that steer a turn into its journal, from this index on; returns their steps, in order.

    Takes no more than so many, the oldest first; those of another user than the turn's stay turns of their own.
    Raises `LeaseLost` if another worker has claimed the thread, or the turn has ended.
    """
    is_held = (
        threads.c.key == lease.thread_key,
        threads.c.fencing_token == lease.fencing_token,
        threads.c.lease_owner == lease.worker,
    )
    thread = connection.execute(select(threads.c.owner).where(*is_held).with_for_update(key_share=True)).one_or_none()
    if thread is None:
        raise LeaseLost(f"thread {lease.thread_key} is no longer held under token {lease.fencing_token}")
    turn = connection.execute(select(turns.c.sender, turns.c.agent, turns.c.state).where(turns.c.id == turn_id)).one()
    if turn.state != "running":
        # It was settled, and its worker keeps the lease for the next turn: nobody would read the messages here.
        raise LeaseLost(f"turn {turn_id} no longer runs")
    of_turn = select(steps).where(steps.c.turn_id == turn_id, steps.c["index"] >= index)
    later = journal.steps_by_index(connection.execute(of_turn.order_by(steps.c["index"])))
    if later:
        # The answer to the commit was lost; or an earlier attempt went on from here without them.
        return list(takewhile(lambda step: step.kind == "input", later.values()))
    waiting = (
        select(turns.c.id, turns.c.sender)
        .where(turns.c.steers == turn_id, turns.c.state == "queued", turns.c.attempt == 0)
        .where(turns.c.agent == turn.agent, turns.c.cancel_requested_at.is_(None))
        # One that asks for an answer to the history as it stands has nothing to read.
        .where(exists().where(inbox_messages.c.turn_id == turns.c.id))
        .order_by(turns.c.arrival_seq)
    )
    user = turn.sender or thread.owner
    rows = connection.execute(waiting).all()
    turn_ids = [row.id for row in rows if (row.sender or thread.owner) == user][:limit]
    return _journal(connection, lease, turn_id, index, turn_ids) if turn_ids else []


def _journal(connection: Connection, lease: Lease, turn_id: str, index: int, turn_ids: list[str]) -> list[Step]:
    """Move the messages of these turns from the inbox to the journal."""
    columns = [inbox_messages.c[name] for name in SHARED_COLUMNS]
    waiting = inbox_messages.c.turn_id.in_(turn_ids)
    rows = connection.execute(select(inbox_messages.c.turn_id, *columns).where(waiting)).all()
    in_order = sorted(rows, key=lambda row: turn_ids.index(row.turn_id))
    # As rows of the history, which they will be: they have no seq yet, and nothing that only a reply has.
    nothing = (None,) * (len(HISTORY_COLUMNS) - 1)
    as_stored = [(None, row.turn_id, *tuple(row)[1:], *nothing, "complete") for row in in_order]
    messages = message_rows.load(connection, row_lineage(lease.thread_key), as_stored)
    taken_steps = [input_step(index + place, message) for place, message in enumerate(messages)]
    connection.execute(journal.upsert(connection, lease, turn_id, taken_steps))
    connection.execute(delete(inbox_messages).where(waiting))
    merged = {"state": "merged", "merged_into": turn_id, "finished_at": clock(), "notified_at": None}
    connection.execute(update(turns).where(turns.c.id.in_(turn_ids)).values(merged))
    return taken_steps
