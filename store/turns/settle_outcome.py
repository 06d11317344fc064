"""The outcome of settling a turn, and what both ways to settle share: plain statements, and the function."""

from dataclasses import dataclass, field
from typing import Any

from conversation.errors import LeaseLost
from conversation.task_contract import WakeUp
from conversation.turn import Lease, TurnError

#: Enough of an error for an operator; a provider's page of HTML is not kept.
ERROR_MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class SettleOutcome:
    """The outcome of settling a turn: the thread's next turn, its lease, and what no summary covers."""

    #: The next turn of the thread that can start now, if there is one.
    next_turn_id: str | None = None
    #: The lease is still held, to go on with that turn.
    keeps_lease: bool = False
    #: What no summary covers, to decide whether one is asked for; 0 where a summary must wait. The
    #: next turn does not depend on it.
    uncovered_messages: int = field(default=0, compare=False)
    uncovered_tokens: int = field(default=0, compare=False)
    #: Tokens that the thread's model takes, about, where it had to leave out older messages; None for most.
    window_tokens: int | None = field(default=None, compare=False)
    #: To be published now: turns that it waits for, or the one that waited for it.
    wake_ups: tuple[WakeUp, ...] = field(default=(), compare=False)


def not_stored(lease: Lease, turn_id: str) -> LeaseLost:
    """The error where a thread was deleted, or its turn."""
    return LeaseLost(f"thread {lease.thread_key} or its turn {turn_id} is no longer stored")


def not_held(lease: Lease) -> LeaseLost:
    """The error where another worker has claimed the thread."""
    return LeaseLost(f"thread {lease.thread_key} is no longer held under token {lease.fencing_token}")


def error_columns(error: TurnError) -> dict[str, Any]:
    """The columns of a turn that an error fills, in the order of the parameters of the function that settles."""
    return {
        "error_kind": error.kind,
        "error_message": error.message.replace("\x00", "")[:ERROR_MAX_CHARS],
        "error_retryable": error.retryable,
        "error_fault": error.fault,
    }
