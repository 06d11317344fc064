"""The purge: turns that ended long ago go with their journals; the messages of the history stay.

What stays true: no turn that has work ahead is purged, and none of a thread under legal hold; one
batch is one transaction, and its row in `audit` says how many turns of which tenant went.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, literal, not_, select, tuple_

from conversation.turn import FINAL_STATES
from store.audit import write_audit_row
from store.database.column_types import moment_ago
from store.database.statements import AnyRow
from store.retention.deletion import BATCH_MAX_ROWS, remove_turns
from store.tables import threads, turns

#: The cursor of a purge: the time and the position of the last turn that it checked.
Cursor = tuple[datetime, int]
BEGINNING: Cursor = (datetime(1970, 1, 1, tzinfo=UTC), 0)


@dataclass(frozen=True, slots=True)
class PurgeOutcome:
    """The outcome of one batch."""

    turns: int
    #: Where the next batch begins; None at the end.
    next_cursor: Cursor | None


def purge(connection: Connection, *, days: float, after: Cursor, limit: int = BATCH_MAX_ROWS) -> PurgeOutcome:
    """Delete the oldest turns after the cursor `after` that ended so many days ago."""
    page = connection.execute(due_turns(days, after, limit)).all()
    finished_turns = _lock_finished_turns(connection, page) if page else []
    for tenant in sorted({row.tenant for row in finished_turns}):
        counts = remove_turns(connection, [row.id for row in finished_turns if row.tenant == tenant])
        write_audit_row(connection, tenant, "", "purge.turns_deleted", {"counts": counts, "days": days})
    last = page[-1] if len(page) == limit else None
    return PurgeOutcome(len(finished_turns), None if last is None else (last.finished_at, last.arrival_seq))


def due_turns(days: float, after: Cursor, limit: int) -> Any:
    """The statement for a page of turns that ended so many days ago, oldest first."""
    sort_key = turns.c.finished_at, turns.c.arrival_seq
    last_position = literal(after[0], sort_key[0].type), literal(after[1], sort_key[1].type)
    return (
        select(turns.c.id, turns.c.thread_key, turns.c.tenant, *sort_key)
        .where(turns.c.finished_at < moment_ago(days=days), tuple_(*sort_key) > tuple_(*last_position))
        .order_by(*sort_key)
        .limit(limit)
    )


def _lock_finished_turns(connection: Connection, page: Sequence[AnyRow]) -> list[AnyRow]:
    """Lock the threads in the order of their keys; returns the turns that are still finished."""
    keys = {row.thread_key for row in page}
    without_hold = select(threads.c.key).where(threads.c.key.in_(keys), not_(threads.c.legal_hold))
    lock_query = without_hold.order_by(threads.c.key).with_for_update(key_share=True, skip_locked=True)
    locked_keys = connection.execute(lock_query).scalars().all()
    query = select(turns.c.id, turns.c.tenant).where(
        turns.c.id.in_([row.id for row in page]),
        turns.c.thread_key.in_(locked_keys),
        turns.c.state.in_(sorted(FINAL_STATES)),
    )
    return list(connection.execute(query))
