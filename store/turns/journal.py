"""The journal: what each model and tool call of a turn came to.

What stays true: a write is fenced. It locks the thread's row with its token before it inserts: an
INSERT that only compares the token can commit after another worker's claim.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, FromClause, RowMapping, Update, select, update

from conversation.errors import LeaseLost
from conversation.message import Usage
from conversation.step import Step
from conversation.turn import Lease
from store.database.column_types import clock
from store.database.statements import insert_for, together, with_rows
from store.tables import steps, threads


def record(connection: Connection, lease: Lease, turn_id: str, entries: Sequence[Step]) -> None:
    """Write entries of the journal. Raises `LeaseLost` if another worker has claimed the thread."""
    held = (
        select(threads.c.key)
        # The owner, too: a database that lost its newest commits in a failover hands a token out twice.
        .where(
            threads.c.key == lease.thread_key,
            threads.c.fence == lease.fence,
            threads.c.owner == lease.worker,
        )
        .with_for_update(read=True)
        .cte("held")
    )
    # The rows are made out of the locked one: without it there are none.
    write = upsert(connection, lease, turn_id, entries, held)
    if not together(connection, [write], select(held.c.key)):
        raise LeaseLost(f"thread {lease.thread_key} is no longer held under token {lease.fence}")


def upsert(
    connection: Connection,
    lease: Lease,
    turn_id: str,
    entries: Sequence[Step],
    held: FromClause | None = None,
) -> Any:
    """The write itself. A step that is final stays as it was: running this twice changes nothing."""
    rows = [_row(lease, turn_id, entry) for entry in entries]
    statement = with_rows(insert_for(connection, steps), steps, rows, source=held)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["turn_id", "index"],
        set_={
            "state": new.state,
            "fence": new.fence,
            "result": new.result,
            "usage": new.usage,
            "cost": new.cost,
            "finished_at": new.finished_at,
        },
        where=steps.c.state == "started",
    )


def close_open(turn_id: str) -> Update:
    """The write after which no call of a turn that is over counts as under way."""
    open_calls = (steps.c.turn_id == turn_id) & (steps.c.state == "started")
    return update(steps).where(open_calls).values(state="unknown", finished_at=clock())


def load(connection: Connection, turn_id: str) -> dict[int, Step]:
    """The journal of a turn, by index."""
    rows = connection.execute(select(steps).where(steps.c.turn_id == turn_id).order_by(steps.c.index))
    return {row["index"]: _step(row) for row in rows.mappings()}


def _step(row: RowMapping) -> Step:
    return Step(
        index=row["index"],
        kind=row["kind"],
        call_id=row["call_id"],
        name=row["name"],
        state=row["state"],
        request_digest=row["request_digest"],
        result=row["result"],
        usage=Usage(**row["usage"]) if row["usage"] else None,
        cost=row["cost"],
    )


def _row(lease: Lease, turn_id: str, entry: Step) -> dict[str, Any]:
    return {
        "turn_id": turn_id,
        "index": entry.index,
        "kind": entry.kind,
        "call_id": entry.call_id,
        "name": entry.name,
        "state": entry.state,
        "fence": lease.fence,
        "request_digest": entry.request_digest,
        "result": entry.result,
        "usage": entry.usage.to_json() if entry.usage else None,
        "cost": entry.cost,
        "started_at": clock(),
        "finished_at": clock() if entry.is_final else None,
    }
