"""An agent in the caller's own process: the same loop, journal and rules as in a worker, without Celery.

What stays true: the turn is stored before the model is asked, so a cancelled call or a dead process
loses neither the user's message nor a finished step; no other process runs this turn, and the turns of
one thread run one at a time, whoever runs them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import agent.agent
from agent.events import Event
from conversation.pending_call import Decision
from conversation.thread import Thread
from store.file_store import FileStore
from store.thread_store import ThreadStore
from threadmill.agent_result import AgentResult
from threadmill.local_run import LocalRun
from threadmill.memory_store import MemoryStore


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent(agent.agent.Agent):
    """An agent that can also be run right here, with a store of threads and one of files."""

    #: Where its threads are; without one, they live in this process's memory.
    thread_store: ThreadStore | None = None
    #: Where attachments go; without one, the store that the settings name.
    file_store: FileStore | None = None
    _memory_store: MemoryStore = field(init=False, repr=False, default_factory=MemoryStore)

    async def go(self, thread: Thread, *, user: str | None = None) -> AgentResult:
        """Store the thread's new messages, answer the last one, and store the answer.

        `user` is who asks, where that is not the thread's owner; a thread that is nobody's becomes theirs.

        Waits while another worker or call is at work on the thread. Raises `TurnFailed` if the
        turn ends without an answer; cancelling it keeps what was said.
        """
        return await (await self._create_run(thread, user)).run()

    async def resume(
        self, thread: Thread, turn_id: str, decisions: Mapping[str, Decision] | None = None, *, by: str | None = None
    ) -> AgentResult:
        """Decide what a turn of the thread waits for, by the ids of its calls, and go on with it.

        The decisions are `Decision.approve()`, `deny(reason)`, `edit(arguments)`, `answer(value)` and
        `give_result(value)`; `by` is who decided. Where something is left to decide, by this process or another, the
        result says so again. It may be another process, weeks later, than the one that began the turn.

        Raises `PendingCallNotFound`, `AlreadyDecided`, `TurnNotFound`, and `TurnFailed` as `go`.
        """
        local_run = await self._create_run(thread, None)
        return await local_run.resume(turn_id, decisions or {}, by=by)

    async def stream(self, thread: Thread, *, user: str | None = None) -> AsyncIterator[Event]:
        """As `go`, with an event for each thing that happens; `TurnFinished` comes last."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        local_run = await self._create_run(thread, user, emit=events.put_nowait)
        task = asyncio.create_task(local_run.run())
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _create_run(
        self, thread: Thread, user: str | None, emit: Callable[[Event], None] | None = None
    ) -> LocalRun:
        store = await self._choose_store(thread)
        return LocalRun.create(self, store, thread, user=user, file_store=self.file_store, emit=emit)

    async def _choose_store(self, thread: Thread) -> ThreadStore:
        """The agent's store; else the one that the thread is kept in; else this process's memory."""
        store = self.thread_store or ThreadStore.of(thread)
        if store is None:
            store = await self._memory_store.open_store()
            self._memory_store.stay_open_for(thread)
        return store
