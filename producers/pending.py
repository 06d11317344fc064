"""Decisions on what turns wait for, as backends make them.

What stays true: a decision is committed before a worker is notified; a wake-up that gets lost is published again by
the sweep. The same decision again changes nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from conversation.pending_call import Decision, PendingCall
from store.turns.decisions import DecisionOutcome, decide
from store.turns.pending_listing import read_pending

if TYPE_CHECKING:
    from producers.connections import Connections


class _TurnHandle(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def connections(self) -> "Connections": ...


class DecidesCalls:
    """Decisions on the pending calls of one turn, for code that blocks."""

    __slots__ = ()

    def pending(self: _TurnHandle) -> tuple[PendingCall, ...]:
        """The calls of the turn that nobody has decided, in the order of asking. Raises `TurnNotFound`."""
        runner = self.connections.database.acting_for(self.tenant)
        return runner.run(read_pending, self.id, tenant=self.tenant)

    def approve(self: _TurnHandle, call_id: str, *, by: str, digest: str | None = None) -> PendingCall:
        """Let a call run as it was shown; `by` is who says so, in one line of at most 200 characters.

        With `digest`, only if it is that of the call: whoever saw other arguments has approved nothing. The same
        decision by the same person again changes nothing.

        Raises `PendingCallNotFound`, `DigestMismatch`, `AlreadyDecided` for another decision or one that comes too
        late, and `InvalidInput` for one that does not fit the kind of the call.
        """
        return _decide(self, call_id, Decision.approve(), by=by, digest=digest)

    def deny(self: _TurnHandle, call_id: str, reason: str | None = None, *, by: str) -> PendingCall:
        """Have a call not run, or a question not answered; the model reads the reason. Raises as `approve`."""
        return _decide(self, call_id, Decision.deny(reason), by=by)

    def edit(
        self: _TurnHandle, call_id: str, arguments: Mapping[str, Any], *, by: str, digest: str | None = None
    ) -> PendingCall:
        """Let a call run with these arguments in place of the model's, which is told so. Raises as `approve`."""
        return _decide(self, call_id, Decision.edit(arguments), by=by, digest=digest)

    def answer(self: _TurnHandle, call_id: str, value: Any, *, by: str) -> PendingCall:
        """Answer a question: with one of its choices, if it has any. Raises as `approve`."""
        return _decide(self, call_id, Decision.answer(value), by=by)

    def give_result(self: _TurnHandle, call_id: str, result: Any, *, by: str) -> PendingCall:
        """Give the result of a tool that the client ran, or the answer of an agent in its place: any JSON value.

        Raises as `approve`.
        """
        return _decide(self, call_id, Decision.give_result(result), by=by)


class DecidesCallsAsync:
    """Decisions on the pending calls of one turn, for code on an event loop."""

    __slots__ = ()

    async def pending(self: _TurnHandle) -> tuple[PendingCall, ...]:
        """As `Turn.pending`, on the event loop."""
        runner = self.connections.database.acting_for(self.tenant)
        return await runner.run_async(read_pending, self.id, tenant=self.tenant)

    async def approve(self: _TurnHandle, call_id: str, *, by: str, digest: str | None = None) -> PendingCall:
        """As `Turn.approve`, on the event loop."""
        return await _decide_async(self, call_id, Decision.approve(), by=by, digest=digest)

    async def deny(self: _TurnHandle, call_id: str, reason: str | None = None, *, by: str) -> PendingCall:
        """As `Turn.deny`, on the event loop."""
        return await _decide_async(self, call_id, Decision.deny(reason), by=by)

    async def edit(
        self: _TurnHandle, call_id: str, arguments: Mapping[str, Any], *, by: str, digest: str | None = None
    ) -> PendingCall:
        """As `Turn.edit`, on the event loop."""
        return await _decide_async(self, call_id, Decision.edit(arguments), by=by, digest=digest)

    async def answer(self: _TurnHandle, call_id: str, value: Any, *, by: str) -> PendingCall:
        """As `Turn.answer`, on the event loop."""
        return await _decide_async(self, call_id, Decision.answer(value), by=by)

    async def give_result(self: _TurnHandle, call_id: str, result: Any, *, by: str) -> PendingCall:
        """As `Turn.give_result`, on the event loop."""
        return await _decide_async(self, call_id, Decision.give_result(result), by=by)


def _decide(turn: _TurnHandle, call_id: str, decision: Decision, *, by: str, digest: str | None = None) -> PendingCall:
    runner = turn.connections.database.acting_for(turn.tenant)
    outcome = runner.run(_call(turn, call_id, decision, by=by, digest=digest))
    if outcome.wake_up is not None:
        turn.connections.notifier.notify(outcome.wake_up)
    return outcome.call


async def _decide_async(
    turn: _TurnHandle, call_id: str, decision: Decision, *, by: str, digest: str | None = None
) -> PendingCall:
    runner = turn.connections.database.acting_for(turn.tenant)
    outcome = await runner.run_async(_call(turn, call_id, decision, by=by, digest=digest))
    if outcome.wake_up is not None:
        await turn.connections.notifier.notify_async(outcome.wake_up)
    return outcome.call


def _call(
    turn: _TurnHandle, call_id: str, decision: Decision, *, by: str, digest: str | None
) -> "partial[DecisionOutcome]":
    return partial(
        decide, turn_id=turn.id, call_id=call_id, decision=decision, by=by, digest=digest, tenant=turn.tenant
    )
