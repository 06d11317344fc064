"""An agent in the caller's own process: the same loop, journal and rules as in a worker, without Celery.

What stays true: the turn is stored before the model is asked, so a cancelled call or a dead process
loses neither the user's message nor a finished step; nobody else runs this turn, and the turns of
one thread run one at a time, whoever runs them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Connection

import agent.agent
from agent.dependencies import Hands
from agent.events import Event, Finished
from agent.files.content_parts import AttachmentParts, FileLimits
from agent.files.prepare import prepare_file
from agent.journal import over_before_it_ran
from agent.loop import Run
from agent.model_factory import model_for, prepare
from agent.tools.thread_pool import ToolThreads
from conversation.errors import TurnFailed
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.thread import Thread
from conversation.turn import Cancelled, ClaimedTurn, Ending, Failed, TurnError, TurnResult
from conversation.window import window_start
from store.file_store import FileStore
from store.files.prepare import FileMaker
from store.files.reader import StoredFiles
from store.thread_store import ThreadStore
from store.threads import repository
from store.turns import cancel, inbox, records
from store.turns.claims import Claimant, Nothing, Suspect
from store.turns.inbox import Request
from store.turns.turn_store import Ledger
from tasks.active_runs import Occupied, ThreadName
from threadmill.memory_stores import OwnStores
from threadmill.process_lease import Presence, presence_in
from threadmill.shielding import to_its_end

#: Seconds between two looks whether the thread is free, doubled up to the most.
LOOK_FIRST_SECONDS = 0.01
LOOK_MOST_SECONDS = 0.5
#: Threads for synchronous tools of one process.
TOOL_THREADS = 16

_tool_threads = ToolThreads(TOOL_THREADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult:
    """What a turn came to."""

    #: The caller's thread, with the new messages in it.
    thread: Thread
    #: What the agent added: tool calls, their results, the answer.
    new_messages: list[Message]
    usage: Usage
    #: In US dollars; None where a price is missing.
    cost: float | None
    turn_id: str

    @property
    def content(self) -> str:
        """The text of the answer."""
        return next((m.content for m in reversed(self.new_messages) if m.role == "assistant"), "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent(agent.agent.Agent):
    """An agent that can also be run right here, with a store of threads and one of files."""

    #: Where its threads are; without one, they live in this process's memory.
    thread_store: ThreadStore | None = None
    #: Where attachments go; without one, the place that the settings name.
    file_store: FileStore | None = None
    _own_stores: OwnStores = field(init=False, repr=False, default_factory=OwnStores)

    async def go(self, thread: Thread) -> AgentResult:
        """Store the thread's new messages, answer the last one, and store the answer.

        Waits while another worker or call is at work on the thread. Raises `TurnFailed` if the
        turn ends without an answer; cancelling it keeps what was said.
        """
        return await LocalRun.of(self, await self._store(thread), thread).go()

    async def stream(self, thread: Thread) -> AsyncIterator[Event]:
        """As `go`, telling what happens as it does; `Finished` comes last."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        run = LocalRun.of(self, await self._store(thread), thread, emit=events.put_nowait)
        task = asyncio.create_task(run.go())
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _store(self, thread: Thread) -> ThreadStore:
        """This agent's store; else the one that the thread is kept in; else this process's memory."""
        store = self.thread_store or ThreadStore.of(thread)
        if store is None:
            store = await self._own_stores.here()
            self._own_stores.live_for(thread)
        return store


@dataclass(slots=True)
class LocalRun:
    """One turn, from the thread's new messages to the stored answer."""

    agent: Agent
    store: ThreadStore
    thread: Thread
    presence: Presence
    emit: Callable[[Event], None] | None = None
    turn_id: str = field(default_factory=new_id)

    @classmethod
    def of(
        cls,
        agent: Agent,
        store: ThreadStore,
        thread: Thread,
        emit: Callable[[Event], None] | None = None,
    ) -> "LocalRun":
        """A run among the others of this process."""
        store.adopt(thread)
        if not thread.has_messages:
            # Out of a listing: the history is the store's, this copy begins with what is said now.
            thread.messages = []
        return cls(agent, store, thread, presence_in(store), emit)

    async def go(self) -> AgentResult:
        files = await self._files()
        await self.store.store_attachments(self.thread, files)
        if self.agent.model is None:
            await asyncio.to_thread(prepare, self._model_name)
        async with self.presence.entered(self.store):
            question = await self._send()
            with self.presence.running.entered(self._thread_name) as entry:
                claimed = await self._claim(question)
                self._place(question, claimed)
                try:
                    ending = await self._run(claimed, entry, files)
                finally:
                    self.presence.tell_turn_ended(self._thread_name)
        return self._result(await self._stored(), ending)

    async def _files(self) -> FileStore:
        files = self.agent.file_store or self.store.file_store
        if files is None:
            files = self.store.file_store = await FileStore.create(settings=self.store.settings)
        return files

    async def _send(self) -> Message | None:
        """Store what is new: the question into the inbox, what stands before it into the history."""
        sending = asyncio.ensure_future(self._store_new())
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            # Half a sending cannot be told from a whole one: let it end, then take the turn back.
            await asyncio.wait([sending])
            if sending.exception() is None:
                await to_its_end(self._withdraw(sending.result()))
            raise

    async def _store_new(self) -> Message | None:
        new = self.thread.new_messages
        is_asked = bool(new) and new[-1].role == "user" and self.thread.messages[-1] is new[-1]
        question = new[-1] if is_asked else None

        def store(connection: Connection) -> tuple[repository.Saved, bool]:
            saved = repository.save(connection, self.thread, new=new[:-1] if is_asked else new)
            # The same copy, asked twice at once, says it once.
            is_new = question is not None and not inbox.is_known(
                connection, saved.row.key, question.id, besides=self.turn_id
            )
            request = Request(
                turn_id=self.turn_id,
                tenant=self.thread.tenant,
                thread_id=self.thread.id,
                message=question if is_new else None,
                agent=self.agent.name,
                allow_unknown_agent=True,
                runner=self.presence.process,
                metadata=dict(saved.row.metadata),
            )
            inbox.accept(connection, request)
            return saved, is_new

        saved, is_new = await self.store.database.run_async(store)
        repository.apply(self.thread, saved)
        return question if is_new else None

    async def _claim(self, question: Message | None) -> ClaimedTurn:
        """Wait until the thread is free and this turn is its next."""
        claimant = Claimant(
            worker=self.presence.process,
            runner=self.presence.process,
            only_turn=self.turn_id,
            agents={self.agent.name: self.agent.version},
            window_start=lambda _agent, to_seq: window_start(to_seq, self.agent.max_messages),
        )
        pause = LOOK_FIRST_SECONDS
        while True:
            claiming = asyncio.ensure_future(self._ledger.claim(self.thread.tenant, self.thread.id, claimant))
            try:
                found = await asyncio.shield(claiming)
                if isinstance(found, ClaimedTurn) and found.id == self.turn_id:
                    return found
                if isinstance(found, ClaimedTurn):
                    await self._end_unrun(found)
                    continue
                await self.presence.turn_ended(self._thread_name, within_seconds=pause)
                pause = min(pause * 2, LOOK_MOST_SECONDS)
            except asyncio.CancelledError:
                await to_its_end(self._give_up(claiming, question))
                raise

    async def _give_up(
        self, claiming: "asyncio.Future[ClaimedTurn | Nothing | Suspect]", question: Message | None
    ) -> None:
        """Cancelled while it waited: what the last look claimed is ended, the user's message is kept."""
        found = await claiming
        if isinstance(found, ClaimedTurn) and found.id != self.turn_id:
            await self._end_unrun(found)
        elif isinstance(found, ClaimedTurn):
            self._place(question, found)
            await self._ledger.settle(found, Cancelled(), release=True)
            return
        await self._withdraw(question)

    async def _end_unrun(self, claimed: ClaimedTurn) -> None:
        """A turn whose process is dead stood in front: nobody runs it, what it had said is kept."""
        ending = over_before_it_ran(claimed)
        assert ending is not None
        await self._ledger.settle(claimed, ending, release=True)

    async def _withdraw(self, question: Message | None) -> None:
        """The turn is over before it began, the user's message is kept."""

        def withdraw(connection: Connection) -> repository.Saved:
            cancel.request_cancel(connection, self.turn_id)
            inbox.discard(connection, self.turn_id)
            return repository.save(connection, self.thread, new=[question] if question else [])

        repository.apply(self.thread, await self.store.database.run_async(withdraw))

    def _place(self, question: Message | None, claimed: ClaimedTurn) -> None:
        """The claim gave the question its place in the history."""
        if question is not None:
            for file in question.attachments:
                file.content = None
            question.seq = next(m.seq for m in claimed.window if m.id == question.id)

    async def _run(self, claimed: ClaimedTurn, entry: Occupied, files: FileStore) -> Ending:
        run = Run(self.agent, replace(claimed, window=self._window(claimed)), self._hands(claimed, files))
        entry.turn_id, entry.run = claimed.id, asyncio.create_task(run.go())
        stopped: asyncio.CancelledError | None = None
        ending: Ending
        try:
            ending = await entry.run
        except asyncio.CancelledError as error:
            # The caller's wish, or a cancel request out of the database.
            stopped = None if entry.stop_reason is not None else error
            ending = run.cancelled()
        except Exception as error:
            bug = TurnError("bug", f"{type(error).__module__}.{type(error).__qualname__}")
            await to_its_end(self._ledger.settle(claimed, Failed(error=bug), release=True))
            raise
        await to_its_end(self._ledger.settle(claimed, ending, release=True))
        if stopped is not None:
            await to_its_end(self._stored())
            raise stopped
        return ending

    def _window(self, claimed: ClaimedTurn) -> tuple[Message, ...]:
        """The stored window; or this copy, if the caller cut it, with what others added meanwhile."""
        if not self.thread.is_cut or self.thread.loaded is None:
            return claimed.window
        shown, known = self.thread.said, self.thread.loaded.last_seq
        mine = {*self.thread.loaded.message_ids, *(message.id for message in shown)}
        added = [m for m in claimed.window if m.id not in mine and (m.seq or 0) > known]
        # What this copy asks stands last; what others said meanwhile stands before it.
        asked = len(shown) - 1 if shown and shown[-1].role == "user" else len(shown)
        return (*shown[:asked], *added, *shown[asked:])

    def _hands(self, claimed: ClaimedTurn, files: FileStore) -> Hands:
        settings = self.store.settings
        maker = FileMaker(files.blobs, self.store.database, prepare_file)
        return Hands(
            model=self.agent.model or model_for(self._model_name),
            model_name=self._model_name,
            journal=self._ledger.journal_of(claimed),
            attachments=AttachmentParts(
                StoredFiles(files.blobs, self.store.database, maker.make),
                FileLimits(settings.attachments_max_count, settings.message_max_bytes),
            ),
            tool_threads=_tool_threads,
            # The caller is here and can decide: there is no later.
            max_attempts=1,
            emit=self.emit,
        )

    async def _stored(self) -> TurnResult:
        """Bring the caller's thread up to date with what was committed."""
        stored = await self.store.database.run_async(partial(records.result, turn_id=self.turn_id))
        self.thread.messages.extend(stored.messages)
        self.thread.note_stored()
        return stored

    def _result(self, stored: TurnResult, ending: Ending) -> AgentResult:
        self._tell(stored)
        if isinstance(ending, Failed):
            raise TurnFailed(ending.error.kind, ending.error.message, turn_id=self.turn_id)
        if isinstance(ending, Cancelled):
            raise TurnFailed("cancelled", "somebody asked this turn to stop", turn_id=self.turn_id)
        return AgentResult(
            thread=self.thread,
            new_messages=list(stored.messages),
            usage=stored.usage or Usage(),
            cost=stored.cost,
            turn_id=self.turn_id,
        )

    def _tell(self, result: TurnResult) -> None:
        if self.emit is not None:
            self.emit(Finished(result))

    @property
    def _thread_name(self) -> ThreadName:
        return self.thread.tenant, self.thread.id

    @property
    def _ledger(self) -> Ledger:
        return Ledger(self.store.database)

    @property
    def _model_name(self) -> str:
        return self.agent.model_name or self.store.settings.model
