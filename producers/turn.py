"""The handle of a turn: what a caller of `send_message` holds.

What stays true: the turn's row in the database is the result. A signal wakes a waiter sooner;
without it the row is looked at again and again, less and less often.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from conversation.task_contract import CANCEL_CHANNEL, Bell, turn_channel
from conversation.turn import TurnRecord, TurnResult, TurnState
from store.turns import cancel, records

if TYPE_CHECKING:
    from producers.producer import Producer

#: Seconds between the first two looks at a turn's row, doubled up to the most.
LOOK_FIRST_SECONDS = 0.05
LOOK_MOST_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handle:
    """What both handles are."""

    id: str
    tenant: str
    thread_id: str
    #: False where an idempotency key led to a turn that was there already.
    is_new: bool
    producer: "Producer"
    priority: int = 0
    #: Somebody should hear of it now: it is new, and not for a later time.
    needs_ring: bool = False

    def _bell(self) -> Bell:
        return Bell(tenant=self.tenant, thread_id=self.thread_id, turn_id=self.id, priority=self.priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(_Handle):
    """One turn, for code that waits by blocking."""

    @property
    def state(self) -> TurnState:
        """Where the turn stands now. Raises `TurnNotFound` before a caller's own transaction commits."""
        return self.record.state

    @property
    def record(self) -> TurnRecord:
        """All that is stored of the turn."""
        return self.producer.database.run(partial(records.read, turn_id=self.id))

    @property
    def result(self) -> TurnResult | None:
        """The turn's end and its messages; None while it has not ended."""
        found = self.producer.database.run(partial(records.result, turn_id=self.id))
        return found if found.state.is_final else None

    def wait(self, timeout: float | None = None) -> TurnResult:
        """Wait for the end, however the turn ends. Raises `TimeoutError` after `timeout` seconds."""
        left = _countdown(timeout)
        found = self.result
        if found is not None:
            return found
        channel = turn_channel(self.id)
        with self.producer.signals.subscribed(channel, within_seconds=left()) as wait_for_signal:
            for pause in _pauses():
                found = self.result
                if found is not None:
                    return found
                if left() <= 0:
                    raise TimeoutError(f"turn {self.id} has not ended after {timeout:g} seconds")
                wait_for_signal(min(pause, left()))
        raise AssertionError("the pauses never end")

    def ring(self) -> bool:
        """Ring the workers' bell: after the commit, where the caller brought its own transaction."""
        return self.producer.bellringer.ring(self._bell())

    def cancel(self) -> TurnState:
        """Ask the turn to stop; returns its state now. What was said so far is kept."""
        state = self.producer.database.run(partial(cancel.request_cancel, turn_id=self.id))
        self.producer.signals.publish(CANCEL_CHANNEL, self.id)
        return state


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncTurn(_Handle):
    """One turn, for code on an event loop."""

    async def state(self) -> TurnState:
        """Where the turn stands now. Raises `TurnNotFound` before a caller's own transaction commits."""
        return (await self.record()).state

    async def record(self) -> TurnRecord:
        """All that is stored of the turn."""
        return await self.producer.database.run_async(partial(records.read, turn_id=self.id))

    async def result(self) -> TurnResult | None:
        """The turn's end and its messages; None while it has not ended."""
        found = await self.producer.database.run_async(partial(records.result, turn_id=self.id))
        return found if found.state.is_final else None

    async def wait(self, timeout: float | None = None) -> TurnResult:
        """Wait for the end, however the turn ends. Raises `TimeoutError` after `timeout` seconds."""
        left = _countdown(timeout)
        found = await self.result()
        if found is not None:
            return found
        channel = turn_channel(self.id)
        async with self.producer.signals.subscribed_async(channel, within_seconds=left()) as wait_for_signal:
            for pause in _pauses():
                found = await self.result()
                if found is not None:
                    return found
                if left() <= 0:
                    raise TimeoutError(f"turn {self.id} has not ended after {timeout:g} seconds")
                await wait_for_signal(min(pause, left()))
        raise AssertionError("the pauses never end")

    async def ring(self) -> bool:
        """Ring the workers' bell: after the commit, where the caller brought its own transaction."""
        return await self.producer.bellringer.ring_async(self._bell())

    def ring_soon(self) -> None:
        """As `ring`, for a hook that cannot wait."""
        self.producer.bellringer.ring_soon(self._bell())

    async def cancel(self) -> TurnState:
        """Ask the turn to stop; returns its state now. What was said so far is kept."""
        state = await self.producer.database.run_async(partial(cancel.request_cancel, turn_id=self.id))
        await asyncio.to_thread(self.producer.signals.publish, CANCEL_CHANNEL, self.id)
        return state


def _countdown(timeout: float | None) -> Callable[[], float]:
    """How many seconds of a timeout are left; endless without one."""
    give_up_at = float("inf") if timeout is None else time.monotonic() + timeout
    return lambda: give_up_at - time.monotonic()


def _pauses() -> Iterator[float]:
    pause = LOOK_FIRST_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, LOOK_MOST_SECONDS)
