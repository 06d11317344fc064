"""The tool calls of a run: those of one reply run beside each other, each to one result.

What stays true: a call whose result is in the journal is not done again, and one that was interrupted
is not either, unless its tool is idempotent. Files of a result are stored before the journal points to them.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.events import MessageAdded, ToolFinished, ToolStarted
from agent.files.thread_files import ThreadFiles
from agent.journal import tool_step
from agent.run_state import RunState
from agent.tool_failures import ToolFailures
from agent.tools.result import ToolResult, failure
from agent.tools.run_context import RunContext
from conversation.attachment import Attachment
from conversation.branch_address import split_address
from conversation.errors import FileRejected, LimitReached
from conversation.message import Message, ToolCall
from conversation.replay import JournalledResult, assistant_message, tool_message, tool_result_of
from conversation.step import Step

#: What the model reads of a call that had begun when its process died.
UNKNOWN_RESULT = failure(
    "Unknown",
    "this call had started when its worker died: it may or may not have taken effect. Find out before you do it again.",
    outcome="unknown",
)


#: What the model reads, in a later turn, of a call that nobody would have read the result of.
NOT_RUN_RESULT = failure("StepLimit", "the turn had no step left in which to read a result: this call was not run")


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """The tool calls of one run."""

    state: RunState
    failures: ToolFailures = field(default_factory=ToolFailures)

    async def run_tools(self, reply: Step) -> Sequence[Message]:
        """Run the tools that one reply asks for, all at once. Returns their messages."""
        assistant, indexed_calls = self._open_block(reply)
        try:
            async with asyncio.TaskGroup() as group:
                for index, call in indexed_calls:
                    group.create_task(self._run_tool_call(assistant, index, call))
        except BaseExceptionGroup as errors:
            # One write that was refused is why the others were stopped: raise that, and only that.
            raise errors.exceptions[0] from None
        return self._close_block()

    async def refuse_tools(self, reply: Step, refusal: ToolResult) -> Sequence[Message]:
        """Answer each call of a reply with a refusal, and run none of them. Returns their messages."""
        result = JournalledResult(refusal.content, refusal.outcome)
        assistant, indexed_calls = self._open_block(reply)
        await self.state.dependencies.journal.record([tool_step(index, call, result) for index, call in indexed_calls])
        for _, call in indexed_calls:
            self.state.transcript.add_result(tool_message(assistant, call.id, call.name, result))
        return self._close_block()

    def _open_block(self, reply: Step) -> tuple[Message, Sequence[tuple[int, ToolCall]]]:
        """Add the reply to the transcript; its message, and its calls with their indexes in the journal."""
        assistant = assistant_message(self.state.claimed.id, reply, self.state.source)
        self.state.transcript.open_block(assistant)
        self.state.emit(MessageAdded(assistant))
        return assistant, [(self.state.take_index(), call) for call in assistant.tool_calls]

    def _close_block(self) -> Sequence[Message]:
        tool_messages = self.state.transcript.close_block()
        for message in tool_messages:
            self.state.emit(MessageAdded(message))
        return tool_messages

    async def _run_tool_call(self, reply: Message, index: int, call: ToolCall) -> None:
        """Run one tool call, or take its result out of the journal; of an interrupted one it is unknown."""
        final_step = self.state.find_final_step(index)
        # A call that was closed by its turn's end has no result: its outcome is unknown.
        if final_step is not None and final_step.result is not None:
            result = tool_result_of(final_step)
        else:
            self.state.emit(ToolStarted(call))
            began_at = time.monotonic()
            result = await self._store_files(await self._call_tool(index, call))
            result = self.failures.tell(call.name, result)
            seconds = time.monotonic() - began_at
            await self.state.dependencies.journal.record([tool_step(index, call, result, seconds)])
            self.state.emit(ToolFinished(call, result.content))
        self.failures.note(call.name, result)
        self.state.transcript.add_result(tool_message(reply, call.id, call.name, result))

    async def _call_tool(self, index: int, call: ToolCall) -> ToolResult:
        toolbox = self.state.tools.toolbox
        tool = toolbox.get(call.name)
        was_interrupted = index in self.state.claimed.steps
        if was_interrupted and not (tool is not None and tool.idempotent):
            return UNKNOWN_RESULT
        dependencies = self.state.dependencies
        return await toolbox.run(
            call.name,
            call.arguments,
            self._build_context(index, call),
            executor=dependencies.tool_threads,
            loops=dependencies.tool_loops,
        )

    def _build_context(self, index: int, call: ToolCall) -> RunContext:
        claimed = self.state.claimed
        return RunContext(
            tenant=claimed.tenant,
            thread_id=split_address(claimed.thread_id)[0],
            turn_id=claimed.id,
            call_id=call.id,
            # By its index, which a resume finds again: ids of calls may repeat within a turn.
            idempotency_key=f"{claimed.id}-{index}",
            user=claimed.user,
            thread_owner=claimed.thread_owner,
            metadata=claimed.metadata,
            attempt=claimed.attempt,
            deadline=self.state.deadline,
            thread_files=ThreadFiles(
                self.state.dependencies.attachments, claimed.tenant, claimed.thread_id, self._turn_files
            ),
        )

    def _turn_files(self) -> Sequence[Attachment]:
        return [file for message in self.state.transcript.messages for file in message.attachments]

    async def _store_files(self, tool_result: ToolResult) -> JournalledResult:
        """Store the files of a result, which the journal and the tool's message then point to."""
        attachments: Sequence[Attachment] = ()
        if tool_result.files:
            unstored_files = [file.to_attachment() for file in tool_result.files]
            try:
                attachments = await self.state.dependencies.attachments.store_all(
                    self.state.claimed.tenant, unstored_files
                )
            except (FileRejected, LimitReached) as error:
                # The tool did its work, but what it brought may not be kept: the model can do without.
                return JournalledResult(failure(type(error).__name__, str(error)).content, "failed")
        return JournalledResult(tool_result.content, tool_result.outcome, tuple(attachments))
