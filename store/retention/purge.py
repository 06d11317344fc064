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
from store.audit import note
from store.database.column_types import moment_ago
from store.database.statements import AnyRow
from store.retention.deletion import BATCH, remove_turns
from store.tables import threads, turns

#: Where a purge was: the time and the position of the last turn that it looked at.
Place = tuple[datetime, int]
BEGINNING: Place = (datetime(1970, 1, 1, tzinfo=UTC), 0)


@dataclass(frozen=True, slots=True)
class Purged:
    """What a batch came to."""

    turns: int
    #: Where the next one begins; None at the end.
    next_place: Place | None


def purge(connection: Connection, *, days: float, after: Place, limit: int = BATCH) -> Purged:
    """Delete the oldest turns behind `after` that ended so many days ago."""
    page = connection.execute(due_turns(days, after, limit)).all()
    over = _still_over(connection, page) if page else []
    for tenant in sorted({row.tenant for row in over}):
        counts = remove_turns(connection, [row.id for row in over if row.tenant == tenant])
        note(connection, tenant, "", "purge.turns_deleted", {"counts": counts, "days": days})
    last = page[-1] if len(page) == limit else None
    return Purged(len(over), None if last is None else (last.finished_at, last.position))


def due_turns(days: float, after: Place, limit: int) -> Any:
    """A page of turns that ended so many days ago, in the order in which they did."""
    place = turns.c.finished_at, turns.c.position
    behind = literal(after[0], place[0].type), literal(after[1], place[1].type)
    return (
        select(turns.c.id, turns.c.thread_key, turns.c.tenant, *place)
        .where(turns.c.finished_at < moment_ago(days=days), tuple_(*place) > tuple_(*behind))
        .order_by(*place)
        .limit(limit)
    )


def _still_over(connection: Connection, page: Sequence[AnyRow]) -> list[AnyRow]:
    """Under the locks of their threads, in the order of their keys: one may have been asked for again."""
    keys = {row.thread_key for row in page}
    free = select(threads.c.key).where(threads.c.key.in_(keys), not_(threads.c.legal_hold))
    locked = free.order_by(threads.c.key).with_for_update(key_share=True, skip_locked=True)
    held = connection.execute(locked).scalars().all()
    over = select(turns.c.id, turns.c.tenant).where(
        turns.c.id.in_([row.id for row in page]),
        turns.c.thread_key.in_(held),
        turns.c.state.in_(sorted(FINAL_STATES)),
    )
    return list(connection.execute(over))
