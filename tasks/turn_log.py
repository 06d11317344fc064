"""The end of a turn in the log: what it came to, why, and whether somebody must act.

| the turn | level |
|---|---|
| failed by the operator's fault (a key, an address, a deadline without workers), or ours or the agent's | `error` |
| failed as `poison` or `exhausted`: something in it takes processes along | `error` |
| failed by the fault of a provider, a model or a tool | `warning` |
| waits for another try | `warning` |
| failed by the caller's fault, completed, cancelled, handed over to another worker | `info` |

What stays true: an error is told by its kind and by sentences of ours; its message, which may quote anybody, is in
the database.
"""

from collections.abc import Mapping
from typing import Any, assert_never

import structlog

from conversation.error_sentences import exception_name_of, model_kind_of, sentence_of
from conversation.errors import Fault
from conversation.turn import Cancelled, Completed, Ending, Failed, HandOver, LeasedTurn, RetryLater, TurnError, Waiting
from tasks.turn_events import TurnOutcome

_log = structlog.get_logger(__name__)

#: The level of a failed turn, by whose fault it is.
LEVEL_OF_FAULT: Mapping[Fault, str] = {
    Fault.OPERATOR: "error",
    Fault.INTERNAL: "error",
    Fault.PROVIDER: "warning",
    Fault.MODEL: "warning",
    Fault.TOOL: "warning",
    Fault.CALLER: "info",
}
#: Kinds of errors that somebody must look at, whosever fault they are.
_URGENT_KINDS = frozenset({"poison", "exhausted"})


def log_turn_end(turn: LeasedTurn, outcome: TurnOutcome) -> None:
    """Log how an attempt at a turn ended. Its ids are those that are bound to the context."""
    fields = {
        "attempt": turn.attempt,
        "seconds": round(outcome.seconds, 3),
        "model_calls": outcome.model_calls,
        "tokens": outcome.tokens,
    }
    match level_of(outcome.ending):
        case "error":
            _log.error("turn_ended", **_read_ending(outcome.ending), **fields)
        case "warning":
            _log.warning("turn_ended", **_read_ending(outcome.ending), **fields)
        case _:
            _log.info("turn_ended", **_read_ending(outcome.ending), **fields)


def level_of(ending: Ending) -> str:
    """The level of the line that tells of an ending."""
    match ending:
        case Failed(error=error):
            return "error" if error.kind in _URGENT_KINDS else LEVEL_OF_FAULT[error.fault]
        case RetryLater():
            return "warning"
        case HandOver(error=TurnError()):
            return "warning"
        case Completed() | Cancelled() | HandOver() | Waiting():
            return "info"
        case _:
            assert_never(ending)


def _read_ending(ending: Ending) -> dict[str, Any]:
    match ending:
        case Completed():
            return {"state": "completed"}
        case Failed(error=error):
            return {"state": "failed", **_read_error(error)}
        case Cancelled():
            return {"state": "cancelled"}
        case RetryLater(error=error, after=after):
            return {"state": "queued", **_read_error(error), "retry_seconds": round(after.total_seconds(), 1)}
        case Waiting(pending=pending):
            return {"state": "waiting", "pending": len(pending), "kinds": sorted({each.kind.value for each in pending})}
        case HandOver(error=error):
            return {"state": "queued", **({"kind": "handed_over"} if error is None else _read_error(error))}
        case _:
            assert_never(ending)


def _read_error(error: TurnError) -> dict[str, Any]:
    fields = {
        "kind": error.kind,
        "model_kind": model_kind_of(error),
        "fault": str(error.fault),
        "problem": sentence_of(error) or None,
        "error": exception_name_of(error),
    }
    return {name: value for name, value in fields.items() if value is not None}
