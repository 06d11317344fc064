"""The notices of a turn that is not at work: that it is queued, or what it waits for. They have no number."""

from datetime import datetime

from sqlalchemy import Connection

from conversation.events import AgentSteps, TurnDecided, TurnEnded, TurnQueued, TurnWaiting
from store.turns import pending_calls
from store.turns.events_of_turn import TurnRow

Notice = TurnQueued | TurnWaiting | TurnDecided | AgentSteps | TurnEnded


def read_notices(
    connection: Connection, thread_id: str, turn: TurnRow, *, due_at: datetime | None, position: int
) -> list[Notice]:
    """The notices of a turn that has so many before it; none of one that runs, or is over."""
    if turn.state == "queued":
        queued = TurnQueued(thread_id=thread_id, turn_id=turn.id, position=position, due_at=due_at, error=turn.error)
        return [queued]
    if turn.state != "waiting":
        return []
    calls = pending_calls.load(connection, turn.id)
    open_calls = tuple(call for call in calls if call.is_open)
    # Of the calls that were asked together with these.
    asked_at = min((call.requested_at for call in open_calls), default=None)
    decided = [call for call in calls if not call.is_open and asked_at is not None and call.requested_at >= asked_at]
    waiting = TurnWaiting(thread_id=thread_id, turn_id=turn.id, calls=open_calls)
    return [waiting, *(TurnDecided(thread_id=thread_id, turn_id=turn.id, call=call) for call in decided)]
