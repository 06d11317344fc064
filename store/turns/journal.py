"""The journal: the outcome of each model and tool call of a turn.

What stays true: a write needs the fencing token. It locks the thread's row with that token before it
inserts: an INSERT that only compares the token can commit after another worker's claim.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, FromClause, Select, Update, case, exists, select, update

from conversation.errors import LeaseLost
from conversation.message import Usage
from conversation.pending_call import PendingRequest
from conversation.step import MESSAGE_PARTS, Step
from conversation.transcript import reply_id
from conversation.turn import Ending, FinalEnding, Lease
from store.database.column_types import clock
from store.database.statements import AnyRow, convert_row, execute_together, insert_for, with_rows
from store.tables import steps, threads, turns
from store.turns import pending_calls


def record(
    connection: Connection, lease: Lease, turn_id: str, entries: Sequence[Step], pending: Sequence[PendingRequest] = ()
) -> bool:
    """Write entries of the journal, and what the turn leaves to be decided while it goes on.

    Returns whether messages wait that are to be read while the turn runs.

    Raises `LeaseLost` if another worker has claimed the thread.
    """
    held_thread = (
        select(threads.c.key)
        # The owner, too: a database that lost its newest commits in a failover hands a token out twice.
        .where(
            threads.c.key == lease.thread_key,
            threads.c.fencing_token == lease.fencing_token,
            threads.c.lease_owner == lease.worker,
        )
        .with_for_update(read=True)
        .cte("held")
    )
    # The rows are made out of the locked one: without it there are none.
    write = upsert(connection, lease, turn_id, entries, held_thread)
    is_steered = exists().where(turns.c.steers == turn_id, turns.c.state == "queued").label("is_steered")
    rows = execute_together(connection, [write], select(held_thread.c.key, is_steered))
    if not rows:
        raise LeaseLost(f"thread {lease.thread_key} is no longer held under token {lease.fencing_token}")
    if pending:
        tenant = connection.execute(select(threads.c.tenant).where(threads.c.key == lease.thread_key)).scalar_one()
        insertion = pending_calls.insert_requests(connection, turn_id, tenant, pending)
        # Running it twice changes nothing: the answer to its commit may have been lost.
        connection.execute(insertion.on_conflict_do_nothing())
    return bool(rows[0].is_steered)


def upsert(
    connection: Connection, lease: Lease, turn_id: str, entries: Sequence[Step], held_thread: FromClause | None = None
) -> Any:
    """The statement that writes steps. A final step stays as it was: running it twice changes nothing."""
    rows = [_row(lease, turn_id, entry) for entry in entries]
    statement = with_rows(insert_for(connection, steps), steps, rows, source=held_thread)
    names = ("name", "request_digest", "state", "fencing_token", "result", "usage", "cost", "finished_at")
    # Of a call whose outcome is unknown, nobody knows more than when it began.
    started_at = case((statement.excluded.state == "unknown", steps.c.started_at), else_=statement.excluded.started_at)
    return statement.on_conflict_do_update(
        index_elements=["turn_id", "index"],
        set_={"started_at": started_at, **{name: statement.excluded[name] for name in names}},
        where=steps.c.state.in_(("waiting", "started")),
    )


def steps_of_ending(turn_id: str, ending: Ending) -> Sequence[Step]:
    """The steps that are written with an ending: of a reply that is stored as a message, the step does not repeat it.

    Nobody replays such a step, since the turn is over, and goes on no more: the history did.
    """
    if not isinstance(ending, FinalEnding):
        return ending.steps
    said_ids = {message.id for message in ending.messages}
    return [
        _without_message(step)
        if step.kind == "model" and step.parent is None and reply_id(turn_id, step.index) in said_ids
        else step
        for step in ending.steps
    ]


def _without_message(step: Step) -> Step:
    rest = {name: value for name, value in (step.result or {}).items() if name not in MESSAGE_PARTS}
    return replace(step, result=rest, request_digest="")


def close_open_calls(turn_id: str) -> Update:
    """The statement that ends the open tool calls of a turn that is over: their outcome is unknown."""
    open_calls = (steps.c.turn_id == turn_id) & (steps.c.kind == "tool") & (steps.c.state == "started")
    return update(steps).where(open_calls).values(state="unknown", finished_at=clock())


def load(connection: Connection, turn_id: str) -> dict[int, Step]:
    """The journal of a turn, by index."""
    return steps_by_index(connection.execute(select_steps(turn_id)))


def select_steps(turn_id: str) -> Select[Any]:
    """The statement that reads the journal of a turn."""
    return select(steps).where(steps.c.turn_id == turn_id).order_by(steps.c.index)


def steps_by_index(rows: Iterable[AnyRow]) -> dict[int, Step]:
    """The steps of the journal's rows, by index."""
    all_steps = [convert_row(row, Step, usage=Usage(**row.usage) if row.usage else None) for row in rows]
    return {step.index: step for step in all_steps}


def step_columns(entry: Step) -> dict[str, Any]:
    """The columns that are written of a step."""
    return {
        "index": entry.index,
        "kind": entry.kind,
        "call_id": entry.call_id,
        "name": entry.name,
        "state": entry.state,
        "request_digest": entry.request_digest,
        "result": entry.result,
        "usage": entry.usage.to_row() if entry.usage else None,
        "cost": entry.cost,
        "parent": entry.parent,
        "agent": entry.agent,
    }


def _row(lease: Lease, turn_id: str, entry: Step) -> dict[str, Any]:
    return step_columns(entry) | {
        "turn_id": turn_id,
        "fencing_token": lease.fencing_token,
        "started_at": clock(plus_seconds=-entry.seconds),
        "finished_at": clock() if entry.is_final else None,
    }
