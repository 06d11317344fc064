"""The activity of turns: their records, and the steps of their journals with their times."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from conversation.turn import TurnRecord
from store.tables import steps, turns
from store.turns.records import read_records


@dataclass(frozen=True, slots=True, kw_only=True)
class StepActivity:
    """One model or tool call of a turn."""

    index: int
    kind: str
    name: str
    state: str
    #: None while it is under way.
    seconds: float | None
    result: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TurnActivity:
    """A turn, and its calls so far."""

    record: TurnRecord
    steps: tuple[StepActivity, ...]


def read_activity(connection: Connection, turn_ids: Collection[str]) -> list[TurnActivity]:
    """Read what turns are doing; those that are not stored are left out."""
    records = read_records(connection, turns.c.id.in_(turn_ids))
    rows = connection.execute(select(steps).where(steps.c.turn_id.in_(turn_ids)).order_by(steps.c.index)).all()
    return [TurnActivity(record, tuple(_step(row) for row in rows if row.turn_id == record.id)) for record in records]


def _step(row: Any) -> StepActivity:
    seconds = None if row.finished_at is None else (row.finished_at - row.started_at).total_seconds()
    return StepActivity(
        index=row.index, kind=row.kind, name=row.name, state=row.state, seconds=seconds, result=row.result
    )
