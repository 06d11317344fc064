"""The desk of a process that answers in Slack: its claims on messages, Slack's API, and the producer.

What stays true: no call to Slack begins that could reach it after the process's claims have ended, so that whoever
takes an answer over has it alone.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from conversation.ids import new_id
from producers.producer import Producer
from producers.slack.api import CALL_TIMEOUT_SECONDS, SlackApi
from store.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds for which a process claims messages; it claims them anew long before.
LEASE_SECONDS = 60.0
#: Messages whose files a process fetches at once: these are in memory.
DOWNLOADS_MAX = 4


class LostClaim(Exception):
    """Another process has the message now, or will have before a call would end."""


@dataclass(slots=True)
class Desk:
    """The things that all answers of one process share."""

    producer: Producer
    api: SlackApi
    #: Names the process in its claims.
    process_id: str = field(default_factory=new_id)
    downloads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DOWNLOADS_MAX))
    _held_until: float = float("-inf")
    _work: set["asyncio.Task[Any]"] = field(default_factory=set)

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.producer.settings

    async def run(
        self, tenant: str, operation: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation of the store for a tenant, as `complete`."""
        runner = self.producer.database.acting_for(tenant)
        return await self.complete(runner.run_async(operation, *args, **kwargs))

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work in the database, which is not broken off: who is cancelled meanwhile waits for its end."""
        task = self._begin(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    async def complete_or_leave(self, work: Coroutine[Any, Any, T]) -> T:
        """As `complete`, for who cannot wait: where they are cancelled, it goes on without them."""
        return await asyncio.shield(self._begin(work))

    async def settle(self) -> None:
        """Wait for work that goes on without those who began it."""
        if self._work:
            await asyncio.wait(set(self._work))

    def _begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: "asyncio.Task[Any]") -> None:
        self._work.discard(task)
        if not task.cancelled():
            # It may be that nobody waits for it any more.
            task.exception()

    def note_claim(self, began_at: float) -> None:
        """Note that all claims hold for their time from then on, by the clock of `time.monotonic`."""
        self._held_until = began_at + LEASE_SECONDS

    def check_claim(self) -> None:
        """Check that a call may begin. Raises `LostClaim`."""
        if time.monotonic() + CALL_TIMEOUT_SECONDS > self._held_until:
            raise LostClaim
