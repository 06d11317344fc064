"""The handle of a turn: what a caller of `send_message` holds.

What stays true: the turn's row in the database is the result. A signal wakes a waiter sooner;
without it the row is polled, less and less often.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from conversation.arguments import check_seconds
from conversation.backoff import pauses
from conversation.branch_address import MAIN, split_address
from conversation.events import ThreadEvent
from conversation.task_contract import CANCEL_CHANNEL, WakeUp, turn_channel
from conversation.turn import TurnRecord, TurnResult, TurnState
from producers.connections import Connections
from producers.pending import DecidesCalls, DecidesCallsAsync
from store.database.engine import PatientRunner
from store.turns import cancel, records

#: Seconds between the first two polls of a turn's row, doubled up to the maximum.
POLL_FIRST_SECONDS = 0.05
POLL_MAX_SECONDS = 1.0
#: Seconds from its send in which no turn ends: to wake a worker, to claim and to settle take longer.
UNENDED_SECONDS = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnHandle:
    """The fields of both handles."""

    id: str
    tenant: str
    #: The thread and the branch on which it is: the id of its row.
    address: str
    #: False where an idempotency key led to a turn that was there already.
    is_new: bool
    #: The connections of the producer that it came from.
    connections: Connections
    priority: int = 0
    #: A worker should be notified now: the turn is new, not for a later time, and no wake-up is on its thread's way.
    needs_notify: bool = False
    #: The turn that this one interrupts, where that ran when it was sent: its worker hears of it with `notify`.
    interrupts: str | None = None
    #: When it was sent, by this process's monotonic clock; of one that is not new, long ago.
    sent_at: float = field(default=float("-inf"), repr=False, compare=False)

    @property
    def thread_id(self) -> str:
        """The id of its thread."""
        return split_address(self.address)[0]

    @property
    def branch(self) -> str:
        """The id of its branch: `main` for the thread's first one."""
        return split_address(self.address)[1] or MAIN

    @property
    def _database(self) -> PatientRunner:
        """The database, for the turn's tenant."""
        return self.connections.database.acting_for(self.tenant)

    @property
    def _is_still_to_end(self) -> bool:
        """Whether its end is sure to come later than now."""
        return time.monotonic() - self.sent_at < UNENDED_SECONDS

    def _wake_up(self) -> WakeUp:
        return WakeUp(tenant=self.tenant, thread_id=self.address, turn_id=self.id, priority=self.priority)

    def _follow(self, after: int) -> AsyncIterator[ThreadEvent]:
        from producers.events.rows import Source

        source = Source(self.tenant, self.address, self.id)
        return self.connections.events.follow_turn(source, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(TurnHandle, DecidesCalls):
    """One turn, for code that waits by blocking."""

    @property
    def state(self) -> TurnState:
        """Where the turn stands now, or the one that answers it with its own: see `TurnRecord.merged_into`.

        Raises `TurnNotFound` before a caller's own transaction commits.
        """
        return self._database.run(records.read_state, turn_id=self.id, tenant=self.tenant)

    @property
    def record(self) -> TurnRecord:
        """All that is stored of the turn."""
        return self._database.run(records.read, turn_id=self.id, tenant=self.tenant)

    @property
    def result(self) -> TurnResult | None:
        """The turn's end and its messages; None while it has not ended."""
        return self._database.run(records.read_end, turn_id=self.id, tenant=self.tenant)

    def wait(self, timeout: float | None = None) -> TurnResult:
        """Wait for the end, however the turn ends. Raises `TimeoutError` after `timeout` seconds."""
        remaining_seconds = _countdown(timeout)
        channel = turn_channel(self.id)
        with self.connections.signals.subscribe(channel, within_seconds=remaining_seconds()) as wait_for_signal:
            if self._is_still_to_end and remaining_seconds() > 0:
                # The read can wait for the signal.
                wait_for_signal(min(POLL_FIRST_SECONDS, remaining_seconds()))
            for pause in pauses(POLL_FIRST_SECONDS, POLL_MAX_SECONDS):
                turn_result = self.result
                if turn_result is not None:
                    return turn_result
                if remaining_seconds() <= 0:
                    raise TimeoutError(f"turn {self.id} has not ended after {timeout:g} seconds")
                wait_for_signal(min(pause, remaining_seconds()))
        raise AssertionError("the pauses never end")

    def events(self, after: int = 0) -> Iterator[ThreadEvent]:
        """The events of the turn, as they happen, until it has ended; see `producers.thread_events`."""
        return self.connections.sync_loop.iterate(self._follow, after)

    def notify(self) -> bool:
        """Notify the workers: after the commit, where the caller brought its own transaction."""
        if self.interrupts is not None:
            self.connections.signals.publish(CANCEL_CHANNEL, self.interrupts)
        return self.connections.notifier.notify(self._wake_up())

    def cancel(self, *, by: str | None = None) -> TurnState:
        """Ask the turn to stop, or the one that answers it with its own; returns its state now.

        What was said so far is kept.

        `by` is who asks, for `threadmill turns show`: a name in one line of at most 200 characters.
        """
        outcome = self._database.run(cancel.cancel_answering, turn_id=self.id, by=by, tenant=self.tenant)
        self.connections.signals.publish(CANCEL_CHANNEL, outcome.turn_id)
        if outcome.wake_up is not None:
            self.connections.notifier.notify(outcome.wake_up)
        return outcome.state


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncTurn(TurnHandle, DecidesCallsAsync):
    """One turn, for code on an event loop."""

    async def state(self) -> TurnState:
        """As `Turn.state`, on the event loop."""
        return await self._database.run_async(records.read_state, turn_id=self.id, tenant=self.tenant)

    async def record(self) -> TurnRecord:
        """All that is stored of the turn."""
        return await self._database.run_async(records.read, turn_id=self.id, tenant=self.tenant)

    async def result(self) -> TurnResult | None:
        """The turn's end and its messages; None while it has not ended."""
        return await self._database.run_async(records.read_end, turn_id=self.id, tenant=self.tenant)

    async def wait(self, timeout: float | None = None) -> TurnResult:
        """Wait for the end, however the turn ends. Raises `TimeoutError` after `timeout` seconds."""
        remaining_seconds = _countdown(timeout)
        channel = turn_channel(self.id)
        async with self.connections.signals.subscribe_async(
            channel, within_seconds=remaining_seconds()
        ) as wait_for_signal:
            if self._is_still_to_end and remaining_seconds() > 0:
                await wait_for_signal(min(POLL_FIRST_SECONDS, remaining_seconds()))
            for pause in pauses(POLL_FIRST_SECONDS, POLL_MAX_SECONDS):
                turn_result = await self.result()
                if turn_result is not None:
                    return turn_result
                if remaining_seconds() <= 0:
                    raise TimeoutError(f"turn {self.id} has not ended after {timeout:g} seconds")
                await wait_for_signal(min(pause, remaining_seconds()))
        raise AssertionError("the pauses never end")

    def events(self, after: int = 0) -> AsyncIterator[ThreadEvent]:
        """As `Turn.events`, on the event loop."""
        return self._follow(after)

    async def notify(self) -> bool:
        """Notify the workers: after the commit, where the caller brought its own transaction."""
        if self.interrupts is not None:
            await self.connections.signals.publish_async(CANCEL_CHANNEL, self.interrupts)
        return await self.connections.notifier.notify_async(self._wake_up())

    def notify_soon(self) -> None:
        """As `notify`, for a hook that cannot wait."""
        self.connections.notifier.notify_soon(self._wake_up())

    async def cancel(self, *, by: str | None = None) -> TurnState:
        """As `Turn.cancel`, on the event loop."""
        request = partial(cancel.cancel_answering, turn_id=self.id, by=by, tenant=self.tenant)
        outcome = await self._database.run_async(request)
        await self.connections.signals.publish_async(CANCEL_CHANNEL, outcome.turn_id)
        if outcome.wake_up is not None:
            await self.connections.notifier.notify_async(outcome.wake_up)
        return outcome.state


def _countdown(timeout: float | None) -> Callable[[], float]:
    """A function that returns the remaining seconds of a timeout; infinite without one."""
    seconds = check_seconds("timeout", timeout)
    give_up_at = float("inf") if seconds is None else time.monotonic() + seconds
    return lambda: give_up_at - time.monotonic()
