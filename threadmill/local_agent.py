"""An agent in the caller's own process: the same loop, journal and rules as in a worker, without Celery.

What stays true: the turn is stored before the model is asked, so a cancelled call or a dead process
loses neither the user's message nor a finished step; no other process runs this turn, and the turns of
one thread run one at a time, whoever runs them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

import agent.agent
from agent.dependencies import RunDependencies
from agent.events import Event, TurnFinished
from agent.files.content_parts import AttachmentParts, FileLimits
from agent.files.prepare import prepare_file
from agent.journal import ending_without_run
from agent.loop import Run
from agent.model_factory import model_for, preload
from agent.tools.thread_pool import ToolThreads
from conversation.errors import TurnFailed
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.thread import Thread
from conversation.turn import Cancelled, ClaimedTurn, Ending, Failed, TurnError, TurnResult
from conversation.window import window_start
from store.file_store import FileStore
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.thread_store import ThreadStore
from store.threads import repository
from store.turns import cancel, inbox, records
from store.turns.claims import ClaimRequest, NothingDue, Quarantined
from store.turns.inbox import SendRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRun, ThreadName
from threadmill.memory_stores import MemoryStores
from threadmill.process_lease import ProcessLease, shared_process_lease
from threadmill.shielding import run_to_completion

#: Seconds between two polls whether the thread is free, doubled up to the maximum.
POLL_FIRST_SECONDS = 0.01
POLL_MAX_SECONDS = 0.5
#: Threads for synchronous tools of one process.
TOOL_THREADS = 16

_tool_threads = ToolThreads(TOOL_THREADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult:
    """The result of one turn of an agent."""

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
    #: Where attachments go; without one, the store that the settings name.
    file_store: FileStore | None = None
    _memory_stores: MemoryStores = field(init=False, repr=False, default_factory=MemoryStores)

    async def go(self, thread: Thread) -> AgentResult:
        """Store the thread's new messages, answer the last one, and store the answer.

        Waits while another worker or call is at work on the thread. Raises `TurnFailed` if the
        turn ends without an answer; cancelling it keeps what was said.
        """
        return await LocalRun.create(self, await self._choose_store(thread), thread).run()

    async def stream(self, thread: Thread) -> AsyncIterator[Event]:
        """As `go`, with an event for each thing that happens; `TurnFinished` comes last."""
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        local_run = LocalRun.create(self, await self._choose_store(thread), thread, emit=events.put_nowait)
        task = asyncio.create_task(local_run.run())
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _choose_store(self, thread: Thread) -> ThreadStore:
        """This agent's store; else the one that the thread is kept in; else this process's memory."""
        store = self.thread_store or ThreadStore.of(thread)
        if store is None:
            store = await self._memory_stores.open_store()
            self._memory_stores.stay_open_for(thread)
        return store


@dataclass(slots=True)
class LocalRun:
    """One turn, from the thread's new messages to the stored answer."""

    agent: Agent
    store: ThreadStore
    thread: Thread
    process_lease: ProcessLease
    emit: Callable[[Event], None] | None = None
    turn_id: str = field(default_factory=new_id)

    @classmethod
    def create(
        cls,
        agent: Agent,
        store: ThreadStore,
        thread: Thread,
        emit: Callable[[Event], None] | None = None,
    ) -> "LocalRun":
        """Create a run, under the process lease that all runs of this process share."""
        store.adopt(thread)
        if not thread.has_messages:
            # Out of a listing: the history is the store's, this copy begins with what is said now.
            thread.messages = []
        return cls(agent, store, thread, shared_process_lease(store), emit)

    async def run(self) -> AgentResult:
        files = await self._choose_file_store()
        await self.store.store_attachments(self.thread, files)
        if self.agent.model is None:
            await asyncio.to_thread(preload, self._model_name)
        async with self.process_lease.hold(self.store):
            question = await self._send()
            with self.process_lease.active_runs.enter(self._thread_name) as entry:
                claimed = await self._claim(question)
                self._set_question_seq(question, claimed)
                try:
                    ending = await self._run_agent(claimed, entry, files)
                finally:
                    self.process_lease.notify_turn_end(self._thread_name)
        return self._finish(await self._load_result(), ending)

    async def _choose_file_store(self) -> FileStore:
        files = self.agent.file_store or self.store.file_store
        if files is None:
            files = self.store.file_store = await FileStore.create(settings=self.store.settings)
        return files

    async def _send(self) -> Message | None:
        """Store what is new: the question into the inbox, what stands before it into the history."""
        send_task = asyncio.ensure_future(self._store_new_messages())
        try:
            return await asyncio.shield(send_task)
        except asyncio.CancelledError:
            # Half a sending cannot be told from a whole one: let it end, then withdraw the turn.
            await asyncio.wait([send_task])
            if send_task.exception() is None:
                await run_to_completion(self._withdraw(send_task.result()))
            raise

    async def _store_new_messages(self) -> Message | None:
        new_messages = self.thread.new_messages
        has_question = (
            bool(new_messages)
            and new_messages[-1].role == "user"
            and self.thread.messages[-1] is new_messages[-1]
        )
        question = new_messages[-1] if has_question else None

        def store(connection: Connection) -> tuple[repository.SaveOutcome, bool]:
            save_outcome = repository.save(
                connection, self.thread, new=new_messages[:-1] if has_question else new_messages
            )
            # The same copy, asked twice at once, says it once.
            is_new = question is not None and not inbox.has_message(
                connection, save_outcome.row.key, question.id, except_turn_id=self.turn_id
            )
            request = SendRequest(
                turn_id=self.turn_id,
                tenant=self.thread.tenant,
                thread_id=self.thread.id,
                message=question if is_new else None,
                agent=self.agent.name,
                allow_unknown_agent=True,
                local_process_id=self.process_lease.process_id,
                metadata=dict(save_outcome.row.metadata),
            )
            inbox.accept(connection, request)
            return save_outcome, is_new

        save_outcome, is_new = await self.store.database.run_async(store)
        repository.apply(self.thread, save_outcome)
        return question if is_new else None

    async def _claim(self, question: Message | None) -> ClaimedTurn:
        """Wait until the thread is free and this turn is its next."""
        claim_request = ClaimRequest(
            worker=self.process_lease.process_id,
            local_process_id=self.process_lease.process_id,
            only_turn=self.turn_id,
            agents={self.agent.name: self.agent.version},
            window_start=lambda _agent, to_seq: window_start(to_seq, self.agent.max_messages),
        )
        pause = POLL_FIRST_SECONDS
        while True:
            claim_task = asyncio.ensure_future(
                self._turn_store.claim(self.thread.tenant, self.thread.id, claim_request)
            )
            try:
                outcome = await asyncio.shield(claim_task)
                if isinstance(outcome, ClaimedTurn) and outcome.id == self.turn_id:
                    return outcome
                if isinstance(outcome, ClaimedTurn):
                    await self._end_abandoned_turn(outcome)
                    continue
                await self.process_lease.wait_for_turn_end(self._thread_name, within_seconds=pause)
                pause = min(pause * 2, POLL_MAX_SECONDS)
            except asyncio.CancelledError:
                await run_to_completion(self._give_up(claim_task, question))
                raise

    async def _give_up(
        self, claim_task: "asyncio.Future[ClaimedTurn | NothingDue | Quarantined]", question: Message | None
    ) -> None:
        """Undo a cancelled wait: a turn that was claimed meanwhile is ended, the user's message is kept."""
        outcome = await claim_task
        if isinstance(outcome, ClaimedTurn) and outcome.id != self.turn_id:
            await self._end_abandoned_turn(outcome)
        elif isinstance(outcome, ClaimedTurn):
            self._set_question_seq(question, outcome)
            await self._turn_store.settle(outcome, Cancelled(), release=True)
            return
        await self._withdraw(question)

    async def _end_abandoned_turn(self, claimed: ClaimedTurn) -> None:
        """End an earlier turn whose process is dead: no process runs it, the text that it had is kept."""
        ending = ending_without_run(claimed)
        assert ending is not None
        await self._turn_store.settle(claimed, ending, release=True)

    async def _withdraw(self, question: Message | None) -> None:
        """Withdraw the turn before it began; the user's message is kept."""

        def withdraw(connection: Connection) -> repository.SaveOutcome:
            cancel.request_cancel(connection, self.turn_id)
            inbox.discard(connection, self.turn_id)
            return repository.save(connection, self.thread, new=[question] if question else [])

        repository.apply(self.thread, await self.store.database.run_async(withdraw))

    def _set_question_seq(self, question: Message | None, claimed: ClaimedTurn) -> None:
        """Give the question the position in the history that the claim assigned."""
        if question is not None:
            for file in question.attachments:
                file.content = None
            question.seq = next(m.seq for m in claimed.window if m.id == question.id)

    async def _run_agent(self, claimed: ClaimedTurn, entry: ActiveRun, files: FileStore) -> Ending:
        agent_run = Run(
            self.agent, replace(claimed, window=self._window(claimed)), self._dependencies(claimed, files)
        )
        entry.turn_id, entry.task = claimed.id, asyncio.create_task(agent_run.run())
        cancellation: asyncio.CancelledError | None = None
        ending: Ending
        try:
            ending = await entry.task
        except asyncio.CancelledError as error:
            # The caller's wish, or a cancel request out of the database.
            cancellation = None if entry.stop_reason is not None else error
            ending = agent_run.end_cancelled()
        except Exception as error:
            turn_error = TurnError("agent_error", f"{type(error).__module__}.{type(error).__qualname__}")
            await run_to_completion(self._turn_store.settle(claimed, Failed(error=turn_error), release=True))
            raise
        await run_to_completion(self._turn_store.settle(claimed, ending, release=True))
        if cancellation is not None:
            await run_to_completion(self._load_result())
            raise cancellation
        return ending

    def _window(self, claimed: ClaimedTurn) -> tuple[Message, ...]:
        """The stored window; or this copy, if the caller sliced it, with what others added meanwhile."""
        if not self.thread.is_sliced or self.thread.loaded is None:
            return claimed.window
        visible_messages, last_known_seq = self.thread.spoken_messages, self.thread.loaded.last_seq
        own_ids = {*self.thread.loaded.message_ids, *(message.id for message in visible_messages)}
        other_messages = [m for m in claimed.window if m.id not in own_ids and (m.seq or 0) > last_known_seq]
        # What this copy asks stands last; what others said meanwhile stands before it.
        question_index = (
            len(visible_messages) - 1
            if visible_messages and visible_messages[-1].role == "user"
            else len(visible_messages)
        )
        return (*visible_messages[:question_index], *other_messages, *visible_messages[question_index:])

    def _dependencies(self, claimed: ClaimedTurn, files: FileStore) -> RunDependencies:
        settings = self.store.settings
        preparer = FilePreparer(files.blobs, self.store.database, prepare_file)
        return RunDependencies(
            model=self.agent.model or model_for(self._model_name),
            model_name=self._model_name,
            journal=self._turn_store.journal_of(claimed),
            attachments=AttachmentParts(
                FileReader(files.blobs, self.store.database, preparer.prepare),
                FileLimits(settings.attachments_max_count, settings.message_max_bytes),
            ),
            tool_threads=_tool_threads,
            # The caller is here and can decide: there is no later.
            max_attempts=1,
            emit=self.emit,
        )

    async def _load_result(self) -> TurnResult:
        """Bring the caller's thread up to date with what was committed."""
        result = await self.store.database.run_async(records.read_result, turn_id=self.turn_id)
        self.thread.messages.extend(result.messages)
        self.thread.note_stored()
        return result

    def _finish(self, result: TurnResult, ending: Ending) -> AgentResult:
        self._emit_finished(result)
        if isinstance(ending, Failed):
            raise TurnFailed(ending.error.kind, ending.error.message, turn_id=self.turn_id)
        if isinstance(ending, Cancelled):
            raise TurnFailed("cancelled", "somebody asked this turn to stop", turn_id=self.turn_id)
        return AgentResult(
            thread=self.thread,
            new_messages=list(result.messages),
            usage=result.usage or Usage(),
            cost=result.cost,
            turn_id=self.turn_id,
        )

    def _emit_finished(self, result: TurnResult) -> None:
        if self.emit is not None:
            self.emit(TurnFinished(result))

    @property
    def _thread_name(self) -> ThreadName:
        return self.thread.tenant, self.thread.id

    @property
    def _turn_store(self) -> TurnStore:
        return TurnStore(self.store.database)

    @property
    def _model_name(self) -> str:
        return self.agent.model_name or self.store.settings.model
