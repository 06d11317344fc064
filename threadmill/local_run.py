"""A library call: one turn, from the thread's new messages to the stored answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from agent.agent import Agent, preload_models
from agent.dependencies import RunDependencies
from agent.events import Event, TurnFinished
from agent.files.content_parts import AttachmentParts, FileLimits
from agent.files.prepare import prepare_file
from agent.loop import Run
from agent.model_factory import model_for
from agent.tools.thread_pool import ToolThreads
from conversation.errors import TurnFailed
from conversation.logs import bind_turn
from conversation.message import Message, Usage
from conversation.pending_call import Decision
from conversation.shielding import run_to_completion
from conversation.thread import Thread
from conversation.turn import Cancelled, ClaimedTurn, Ending, Failed, FinalEnding, RefusedTurn, TurnResult, TurnState
from conversation.validation import check_id
from store.file_store import FileStore
from store.files.prepare import FilePreparer
from store.files.reader import FileReader
from store.thread_store import ThreadStore
from tasks.turn_executor import ExecutedTurn, TurnExecutor
from threadmill.agent_result import AgentResult
from threadmill.local_turn import LocalTurn
from threadmill.process_lease import ProcessLease, shared_process_lease

#: Threads for synchronous tools of one process.
TOOL_THREADS = 16

_tool_threads = ToolThreads(TOOL_THREADS)


@dataclass(slots=True)
class LocalRun:
    """The run of one turn in this process."""

    agent: Agent
    store: ThreadStore
    turn: LocalTurn
    process_lease: ProcessLease
    #: Where attachments go; None where the thread's store knows, or the settings do.
    file_store: FileStore | None = None
    emit: Callable[[Event], None] | None = None

    @classmethod
    def create(
        cls,
        agent: Agent,
        store: ThreadStore,
        thread: Thread,
        *,
        user: str | None = None,
        file_store: FileStore | None = None,
        emit: Callable[[Event], None] | None = None,
    ) -> "LocalRun":
        """Create a run, under the process lease that all runs of this process share."""
        store.adopt(thread)
        if not thread.has_messages:
            # Out of a listing: the history is the store's, this copy begins with what is said now.
            thread.messages = []
        process_lease = shared_process_lease(store)
        turn = LocalTurn(agent, store, thread, process_lease, None if user is None else check_id("user", user))
        return cls(agent, store, turn, process_lease, file_store, emit)

    async def run(self) -> AgentResult:
        """Run the turn. Raises `TurnFailed` if it ends without an answer, and whatever broke the agent."""
        files = await self._choose_file_store()
        await self.store.store_attachments(self.turn.thread, files)
        await self._preload_models()
        async with self.process_lease.hold(self.store):
            await self.turn.send()
            executed = await self._run_sent_turn(files)
        return await self._finish_executed(executed)

    async def resume(self, turn_id: str, decisions: Mapping[str, Decision], *, by: str | None) -> AgentResult:
        """Decide what a turn waits for, and go on with it, if nothing is left to decide. Raises as `run`."""
        self.turn.id = turn_id
        files = await self._choose_file_store()
        await self._preload_models()
        async with self.process_lease.hold(self.store):
            if not await self.turn.go_on(decisions, by=by):
                return await self._result_of(await self.turn.load_result())
            executed = await self._run_sent_turn(files)
        return await self._finish_executed(executed)

    async def _finish_executed(self, executed: ExecutedTurn) -> AgentResult:
        if executed.error is not None:
            await run_to_completion(self.turn.load_result())
            raise executed.error
        return await self._finish(await self.turn.load_result(), executed.ending)

    async def _preload_models(self) -> None:
        if any(agent.model is None for agent in (self.agent, *self.agent.subagents)):
            await asyncio.to_thread(preload_models, self.agent, self.store.settings.model)

    async def _choose_file_store(self) -> FileStore:
        files = self.file_store or self.store.file_store
        if files is None:
            files = self.store.file_store = await FileStore.create(settings=self.store.settings)
        return files

    async def _run_sent_turn(self, files: FileStore) -> ExecutedTurn:
        active_runs, thread_name = self.process_lease.active_runs, self.turn.thread_name
        # No other process may run this turn: what ends it here ends it for good.
        executor = TurnExecutor(turn_store=self.turn.turn_store, active_runs=active_runs, is_resumable=False)
        with active_runs.enter(thread_name) as entry:
            claimed = await self.turn.claim()
            try:
                match claimed:
                    case RefusedTurn():
                        return await executor.end_refused(claimed, release=True)
                    case ClaimedTurn():
                        with bind_turn(claimed):
                            return await executor.execute(
                                claimed, lambda: self._create_agent_run(claimed, files), entry, releases=lambda: True
                            )
                    case _:
                        assert_never(claimed)
            finally:
                self.process_lease.notify_turn_end(thread_name)

    def _create_agent_run(self, claimed: ClaimedTurn, files: FileStore) -> Run:
        window = self._choose_window(claimed)
        return Run(
            self.agent, replace(claimed, window=window, may_have_files=True), self._build_dependencies(claimed, files)
        )

    def _choose_window(self, claimed: ClaimedTurn) -> Sequence[Message]:
        """The stored window; or this copy, if the caller sliced it, with what others added meanwhile."""
        thread = self.turn.thread
        if not thread.is_sliced or thread.loaded is None:
            return claimed.window
        visible_messages, last_known_seq = thread.spoken_messages, thread.loaded.last_seq
        own_ids = {*thread.loaded.message_ids, *(message.id for message in visible_messages)}
        other_messages = [m for m in claimed.window if m.id not in own_ids and (m.seq or 0) > last_known_seq]
        # What this copy asks stands last; what others said meanwhile stands before it.
        question_index = (
            len(visible_messages) - 1
            if visible_messages and visible_messages[-1].role == "user"
            else len(visible_messages)
        )
        return (*visible_messages[:question_index], *other_messages, *visible_messages[question_index:])

    def _build_dependencies(self, claimed: ClaimedTurn, files: FileStore) -> RunDependencies:
        settings = self.store.settings
        read_file = partial(prepare_file, ocr_languages=settings.languages_to_recognize)
        preparer = FilePreparer(files.blobs, self.store.database, read_file)
        return RunDependencies(
            model=self.agent.model or model_for(self._model_name),
            model_name=self._model_name,
            default_model_name=settings.model,
            max_depth=settings.agent_max_depth,
            max_children=settings.agent_max_children,
            journal=self.turn.turn_store.journal_of(claimed),
            attachments=AttachmentParts(
                FileReader(files.blobs, self.store.database, preparer.prepare),
                FileLimits(settings.attachments_max_count, settings.message_max_bytes),
            ),
            tool_threads=_tool_threads,
            # The caller is here and can decide: there is no later.
            max_attempts=1,
            max_retry_seconds=0,
            wait_expire_seconds=settings.wait_expire_seconds,
            keeps_provider_errors=settings.keep_provider_errors,
            mcp_allow_networks=settings.mcp_allow_networks,
            emit=self.emit,
        )

    async def _finish(self, result: TurnResult, ending: Ending) -> AgentResult:
        if self.emit is not None:
            self.emit(TurnFinished(result))
        if isinstance(ending, Failed):
            raise TurnFailed(ending.error.kind, ending.error.message, turn_id=self.turn.id)
        if isinstance(ending, Cancelled):
            raise TurnFailed("cancelled", "this turn was asked to stop", turn_id=self.turn.id)
        handed_over_to = ending.hands_over_to if isinstance(ending, FinalEnding) else None
        return replace(await self._result_of(result), handed_over_to=handed_over_to)

    async def _result_of(self, result: TurnResult) -> AgentResult:
        is_waiting = result.state is TurnState.WAITING
        return AgentResult(
            thread=self.turn.thread,
            new_messages=list(result.messages),
            usage=result.usage or Usage(),
            cost=result.cost,
            turn_id=self.turn.id,
            omitted=result.omitted,
            pending=await self.turn.load_pending() if is_waiting else (),
        )

    @property
    def _model_name(self) -> str:
        return self.agent.model_name or self.store.settings.model
