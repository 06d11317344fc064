"""Turns that wait for decisions, in plain Python.

What stays true: a decision counts once, and the last one of a turn queues it again. A turn that was asked to stop,
or whose wait or deadline is over, is only ended.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from conversation.errors import AlreadyDecided, DigestMismatch, InvalidInput, PendingCallNotFound, TurnNotFound
from tests.integration.store.turns.model_based.values import Call, Decided, Entry, Request, Turn

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.reference import Mailbox

#: The decisions that fit each kind of call.
FITTING = {
    "approval": ("approve", "deny", "edit"),
    "question": ("answer", "deny"),
    "client_tool": ("result", "deny"),
    "child": ("result",),
}
#: The answers that a question takes.
CHOICES = ("red", "blue")


def begin(mailbox: "Mailbox", turn: Turn, requests: tuple[Request, ...]) -> None:
    """Have a turn wait: it belongs to no process any more."""
    ask(mailbox, turn, requests)
    turn.state, turn.notified_at, turn.runner = "waiting", None, None
    turn.wait_over_at = _over_at(turn)


def ask(mailbox: "Mailbox", turn: Turn, requests: tuple[Request, ...]) -> None:
    """Have these be decided, whether the turn waits for them or goes on."""
    for request in requests:
        over_at = mailbox.now + request.seconds
        turn.calls.setdefault(request.call, Call(request.kind, over_at, asked_at=mailbox.now, index=request.index))


def _over_at(turn: Turn) -> int | None:
    awaited = (call for call in turn.calls.values() if call.decided is None and not is_left_open(turn, call))
    moments = [call.over_at for call in awaited]
    if not moments:
        return None
    return min(moments) if turn.deadline is None else min(*moments, turn.deadline)


def is_left_open(turn: Turn, call: Call) -> bool:
    """Whether the turn went on without it: its step has its result."""
    entry = turn.steps.get(call.index)
    return entry is not None and entry.state in ("finished", "failed", "unknown")


def decide(
    mailbox: "Mailbox", call_id: tuple[str, str], decided: Decided, *, knows_digest: bool | None, taken_up: Turn
) -> bool:
    """Returns whether nobody had decided the same before. `knows_digest`: whether the one it passes is right.

    `taken_up` is the turn that goes on with a call that its own turn has gone on without.
    """
    turn_id, name = call_id
    turn = mailbox.turns.get(turn_id)
    call = turn.calls.get(name) if turn is not None else None
    if turn is None or call is None:
        raise PendingCallNotFound
    if knows_digest is False:
        raise DigestMismatch
    if decided.kind not in FITTING[call.kind] or (decided.kind == "answer" and decided.value not in CHOICES):
        raise InvalidInput("decision", "does not fit", "pass another")
    if call.decided is not None:
        if call.decided == decided:
            return False
        raise AlreadyDecided
    if turn.state == "cancelled" or call.over_at <= mailbox.now or (mailbox.must_end(turn) and not turn.is_final):
        raise AlreadyDecided
    turn.calls[name] = replace(call, decided=decided)
    if turn.state != "waiting" or is_left_open(turn, call):
        taken_up.steps = {0: Entry("finished", 0, is_call=False), 1: Entry("waiting", 0)}
        taken_up.calls = {name: replace(call, decided=decided, index=1)}
        mailbox.turns[taken_up.id] = taken_up
        return True
    turn.wait_over_at = _over_at(turn)
    if turn.wait_over_at is None:
        turn.state, turn.notified_at = "queued", mailbox.now
    return True


def close(turn: Turn) -> None:
    """Close what nobody decided of a turn that is only to be ended, or was cancelled."""
    calls = turn.calls.items()
    turn.calls |= {one: replace(call, decided=Decided("closed")) for one, call in calls if call.decided is None}


def told(turn: Turn) -> tuple[tuple[str, str | None], ...]:
    """What it waited for, in the order of asking, and how that was decided."""
    in_order = sorted(turn.calls.items(), key=lambda item: (item[1].asked_at, item[1].index, item[0]))
    return tuple((name, call.decided.kind if call.decided else None) for name, call in in_order)


def adopt(mailbox: "Mailbox", turn_id: str, process: str) -> bool:
    """Make a turn whose wait is over a library process's own."""
    turn = mailbox.turns.get(turn_id)
    if turn is None:
        raise TurnNotFound
    may_adopt = turn.runner is None and turn.state == "queued" and turn.has_begun
    if may_adopt:
        turn.runner = process
    return may_adopt
