"""Settling by the function in PostgreSQL, `settle_turn_v1`: the call, and what its value means.

What stays true: what is stored is what the plain statements store, to the byte; replies with files are left to
these, since the blobs of files are locked first.
"""

import json
from collections.abc import Sequence
from typing import Any, assert_never

from conversation.step import Step
from conversation.turn import Cancelled, Completed, Ending, Failed, FinalEnding, HandOver, Lease, RetryLater, Waiting
from store.database.function_calls import FunctionCall
from store.history import message_rows
from store.turns import journal, pending_calls
from store.turns.settle_outcome import SettleOutcome, error_columns, not_held, not_stored


def has_files(ending: Ending) -> bool:
    """Whether an ending has replies with attachments, which the function does not take."""
    return isinstance(ending, FinalEnding) and any(
        message.attachments and message.turn_id is None for message in ending.messages
    )


def build(lease: Lease, turn_id: str, ending: Ending, *, release: bool) -> FunctionCall:
    """The call that settles a turn."""
    final_ending = ending if isinstance(ending, FinalEnding) else None
    arguments = {
        "p_thread_key": lease.thread_key,
        "p_fencing_token": lease.fencing_token,
        "p_worker": lease.worker,
        "p_turn_id": turn_id,
        "p_keep_lease": final_ending is not None and not release,
        "p_state": _state_of(ending),
        "p_retry_seconds": ending.after.total_seconds() if isinstance(ending, RetryLater) else None,
        "p_is_put_off": isinstance(ending, RetryLater) and ending.is_put_off,
        "p_waits_for": ending.waits_for if isinstance(ending, RetryLater) else None,
        **_final_arguments(final_ending),
        **_error_arguments(ending),
        "p_messages": None if final_ending is None else _messages_json(final_ending),
        "p_steps": _steps_json(journal.steps_of_ending(turn_id, ending)),
        "p_pending": _pending_json(ending),
    }
    return FunctionCall("settle_turn_v1", arguments, locks=(lease.thread_key,))


def read(value: Any, lease: Lease, turn_id: str) -> SettleOutcome:
    """The outcome that the function's value says. Raises `LeaseLost`."""
    match value.get("refusal"):
        case None:
            return SettleOutcome(**value)
        case "not_stored":
            raise not_stored(lease, turn_id)
        case _:
            raise not_held(lease)


def _state_of(ending: Ending) -> str:
    match ending:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
        case RetryLater() | HandOver():
            return "queued"
        case Waiting():
            return "waiting"
        case _:
            assert_never(ending)


def _final_arguments(ending: FinalEnding | None) -> dict[str, Any]:
    if ending is None:
        return dict.fromkeys(("p_usage", "p_cost", "p_omitted", "p_window_tokens", "p_hands_over_to"))
    return {
        "p_usage": json.dumps(ending.usage.to_row()),
        "p_cost": ending.cost,
        "p_omitted": None if ending.omitted is None else json.dumps(dict(ending.omitted)),
        "p_window_tokens": ending.window_tokens,
        "p_hands_over_to": ending.hands_over_to,
    }


def _error_arguments(ending: Ending) -> dict[str, Any]:
    if isinstance(ending, Failed | RetryLater | HandOver) and ending.error is not None:
        return {f"p_{name}": value for name, value in error_columns(ending.error).items()}
    return dict.fromkeys(("p_error_kind", "p_error_message", "p_error_retryable", "p_error_fault"))


def _messages_json(ending: FinalEnding) -> str | None:
    rows = [message_rows.reply_json(position, reply) for position, reply in enumerate(ending.messages, start=1)]
    return json.dumps(rows) if rows else None


def _steps_json(steps: Sequence[Step]) -> str | None:
    return json.dumps([_step_json(step) for step in steps]) if steps else None


def _pending_json(ending: Ending) -> str | None:
    return (
        json.dumps([pending_calls.columns_of(each) for each in ending.pending]) if isinstance(ending, Waiting) else None
    )


def _step_json(step: Step) -> dict[str, Any]:
    columns = journal.step_columns(step) | {"seconds": step.seconds}
    # As text: JSON knows no NaN.
    return columns if step.cost is None else columns | {"cost": str(step.cost)}
