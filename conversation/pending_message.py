"""A pending message: one that was sent and that no worker has taken yet.

What stays true: it has no place in the history, so its `seq` is None; it gets one when its turn is claimed.
"""

from dataclasses import dataclass
from typing import Any

from conversation.message import Message
from conversation.turn import TurnState


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message that waits in the inbox for its turn."""

    message: Message
    turn_id: str
    #: `queued`: a turn that has begun has its message in the history.
    turn_state: TurnState

    def to_json(self) -> dict[str, Any]:
        """The message as JSON values, with its turn."""
        return self.message.to_json() | {"turn_id": self.turn_id, "turn_state": self.turn_state.value}
