"""A turn as Flower shows it: one row under the turn's own id, whose state and result are the turn's.

What stays true: a row for each turn that ran, whichever task ran it and however many attempts it took. It holds
ids, kinds and sentences of ours, never what was said. The loop of the turns only notes what happened.

| the turn | state of the row | its result |
|---|---|---|
| runs | `STARTED` | |
| completed | `SUCCESS` | model calls, tokens |
| failed | `FAILURE` | kind, fault, a sentence; of a bug, the places in the agent's code as its traceback |
| cancelled | `REVOKED` | model calls, tokens |
| waits for another try, or was handed over | `RETRY` | why, and when the next one is due |
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, assert_never

from conversation.error_sentences import describe
from conversation.task_contract import RUN_TURNS
from conversation.turn import (
    Cancelled,
    ClaimedTurn,
    Completed,
    Ending,
    Failed,
    HandOver,
    LeasedTurn,
    RetryLater,
    Waiting,
)
from tasks.task_events import TaskEvents, task_events

#: Fields that an earlier attempt may have filled.
_FRESH = {"result": None, "exception": None, "traceback": None, "runtime": None}
HANDED_OVER = "handed over: its worker stops, another one goes on"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOutcome:
    """The outcome of one attempt at a turn, as logs and Flower tell it."""

    ending: Ending
    #: From the claim to the commit of the end.
    seconds: float
    #: Of all attempts together.
    model_calls: int = 0
    tokens: int = 0
    #: Places in the code that broke the turn, the innermost last.
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnEvents:
    """The rows of the turns of this process."""

    events: TaskEvents = field(default=task_events)

    def start(self, turn: LeasedTurn) -> None:
        """Show that a turn runs. Only on the loop."""
        if self.events.are_wanted:
            self.events.post(partial(self._send_start, turn, time.time()))

    def end(self, turn: LeasedTurn, outcome: TurnOutcome) -> None:
        """Show what an attempt at a turn came to. Only on the loop."""
        if self.events.are_wanted:
            self.events.post(partial(self._send_end, turn, outcome, time.time()))

    def show_ended(self, turn: LeasedTurn, ending: Ending) -> None:
        """Show a turn that was ended without being run. On a thread of Celery's."""
        if self.events.are_wanted:
            now = time.time()
            self._send_start(turn, now)
            self._send_end(turn, TurnOutcome(ending=ending, seconds=0.0), now)

    def _send_start(self, turn: LeasedTurn, timestamp: float) -> None:
        moment = {"timestamp": timestamp, **_FRESH}
        retries = turn.retries if isinstance(turn, ClaimedTurn) else 0
        if turn.attempt > retries + 1:
            # Its row may say that it is over, or that a worker runs it which is dead: this is another try.
            self.events.send("retried", turn.id, **moment)
        self.events.send("received", turn.id, **moment, **_describe(turn))
        self.events.send("started", turn.id, **moment)

    def _send_end(self, turn: LeasedTurn, outcome: TurnOutcome, timestamp: float) -> None:
        kind, fields = _read_ending(outcome, timestamp)
        # With what says which turn it is: Flower may have come later than the turn.
        self.events.send(kind, turn.id, timestamp=timestamp, runtime=outcome.seconds, **_describe(turn) | fields)


def _describe(turn: LeasedTurn) -> dict[str, Any]:
    named = {"tenant": turn.tenant, "thread": turn.thread_id, "turn": turn.id, "agent": turn.agent}
    return {
        "name": RUN_TURNS,
        "args": "()",
        "kwargs": repr(named | {"attempt": turn.attempt}),
        "retries": turn.attempt - 1,
        "eta": None,
    }


def _read_ending(outcome: TurnOutcome, timestamp: float) -> tuple[str, dict[str, Any]]:
    """The kind of the event of an ending, and its fields."""
    spent = f"model calls: {outcome.model_calls}, tokens: {outcome.tokens}"
    match outcome.ending:
        case Completed():
            return "succeeded", {"result": f"completed; {spent}"}
        case Failed(error=error):
            trace, reason = "\n".join(outcome.trace) or None, describe(error)
            return "failed", {"exception": reason, "traceback": trace, "result": f"{reason}; {spent}"}
        case Cancelled():
            return "revoked", {"result": f"cancelled; {spent}", "terminated": False, "signum": None, "expired": False}
        case RetryLater(error=error, after=after):
            due = datetime.fromtimestamp(timestamp, UTC) + timedelta(seconds=after.total_seconds())
            reason = f"{describe(error)}; next try in {after.total_seconds():.0f} s"
            return "retried", {"exception": reason, "result": reason, "eta": due.isoformat(timespec="seconds")}
        case Waiting(pending=pending):
            reason = f"waits for {', '.join(f'{each.kind} {each.call_id} ({each.name})' for each in pending)}"
            return "retried", {"exception": reason, "result": reason}
        case HandOver(error=error):
            reason = HANDED_OVER if error is None else describe(error)
            return "retried", {"exception": reason, "result": reason}
        case _:
            assert_never(outcome.ending)
