"""A turn in words for an operator: why it waits or failed, in a sentence, and what to do about it.

What stays true: each reason to wait and each party at fault has its sentence; none holds text of a message.
"""

from typing import TYPE_CHECKING

from conversation.errors import Fault
from conversation.turn import TurnRecord, TurnState
from threadmill.cli.output import shorten, show_cell

if TYPE_CHECKING:
    from store.turns.waits import Wait

#: Characters of an error that a sentence shows.
ERROR_CHARS = 200
#: What to do about a turn that failed, by whose fault it was.
_ADVICE_BY_FAULT = {
    Fault.CALLER: "send another message: this one would fail again",
    Fault.OPERATOR: "mend the cause, then `threadmill turns requeue {id}`",
    Fault.MODEL: "`threadmill turns show {id} --text` has what the model said; then `threadmill turns requeue {id}`",
    Fault.PROVIDER: "once the provider is back: `threadmill turns requeue {id}`",
    Fault.TOOL: "mend the tool, then `threadmill turns requeue {id}`",
    Fault.INTERNAL: "the worker's log has the lines of code; mend them, then `threadmill turns requeue {id}`",
}
#: Why a turn waits, by the reason that the store gives; and what to do about it, where there is anything.
_WAITS = {
    "decision": "waits for a decision, until {until}",
    "later": "was sent for {until}",
    "retry": "is tried again at {until}{sooner}, after {error}",
    "behind": "waits behind turn {first} of its thread",
    "local": "waits for the process that made it, which alone may run it",
    "unserved": "waits for agent {agent}, which no living worker serves",
    "tenant_limit": "waits until tenant {tenant} runs fewer turns: it has as many as it may",
    "worker": "is due, and waits for a free worker",
    "lost": "waits to be taken over: its worker does not answer",
}
_ADVICE_BY_WAIT = {
    "decision": "`threadmill turns pending` shows what; then `threadmill turns approve {id} …`, `deny` or `answer`",
    "behind": "`threadmill turns show {first}`",
    "unserved": "start a worker that serves it, or `threadmill turns requeue {id} --by …`",
    "worker": "`threadmill top` shows whether workers are busy; start more of them",
    "lost": "nothing: the sweep has it taken over; `threadmill workers list` shows who lives",
}


def describe_error(record: TurnRecord) -> str | None:
    """The error of a turn, or of its newest attempt: whose fault it was, the kind, and the message."""
    error = record.error
    if error is None:
        return None
    return shorten(f"{error.fault}: {error.kind}: {error.message}", ERROR_CHARS)


def advise(record: TurnRecord, wait: "Wait | None") -> str | None:
    """The advice about a turn: what to do, if there is anything to do."""
    if record.state is TurnState.FAILED:
        fault = Fault.INTERNAL if record.error is None else record.error.fault
        return _ADVICE_BY_FAULT[fault].format(id=record.id)
    advice = None if wait is None else _ADVICE_BY_WAIT.get(wait.reason)
    return advice if wait is None or advice is None else advice.format(id=record.id, first=wait.turn_id)


def describe_wait(record: TurnRecord, wait: "Wait | None") -> str | None:
    """Why a turn does not run, in a sentence; None of one that runs or has ended."""
    if wait is None:
        return None
    error = describe_error(record) or "an attempt that broke off"
    agent, tenant = show_cell(record.agent), show_cell(record.tenant)
    sooner = f", or sooner once {show_cell(wait.model)} is back" if wait.model else ""
    values = {"until": show_cell(wait.until), "sooner": sooner, "error": error, "first": wait.turn_id}
    return _WAITS[wait.reason].format(**values, agent=agent, tenant=tenant)


def describe(record: TurnRecord, wait: "Wait | None") -> str:
    """Where a turn stands, in a sentence."""
    if record.state is TurnState.FAILED:
        return f"failed: {describe_error(record)}"
    if record.state is TurnState.CANCELLED:
        return f"cancelled by {show_cell(record.cancel_requested_by or 'somebody who gave no name')}"
    return describe_wait(record, wait) or f"{record.state}"
