"""The tool calls of a run: those of one reply run beside each other, each to one result.

What stays true: a call that needs a decision does not begin before it is there, and then runs as it was shown. A
call whose result is in the journal is not done again, and one that was interrupted is not either, unless its tool is
idempotent. Files of a result are stored before the journal points to them.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.call_context import build_context, store_files
from agent.call_decisions import NOT_DECIDED_RESULT, CallDecisions, client_result, denial, edited_call, tell_edited
from agent.events import MessageAdded, ToolFinished, ToolStarted
from agent.journal import tool_intent, tool_step
from agent.run_state import RunState
from agent.subagents import Subagents, read_answer
from agent.tool_failures import ToolFailures
from agent.tools.agent_tool import AgentTool, HandOverTool
from agent.tools.approval_check import ApprovalCheck
from agent.tools.arguments import InvalidArguments
from agent.tools.questions import Question
from agent.tools.result import ToolResult, failure, success
from agent.tools.tool import Tool
from agent.tools.toolbox import run
from conversation.message import Message, ToolCall
from conversation.pending_call import DecisionKind, PendingKind, PendingRequest
from conversation.replay import JournalledResult, assistant_message, tool_message, tool_result_of
from conversation.step import Step
from conversation.turn import Waiting

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
    subagents: Subagents
    decisions: CallDecisions
    failures: ToolFailures = field(default_factory=ToolFailures)
    #: The steps of calls that wait.
    waiting_steps: list[Step] = field(default_factory=list)
    #: What is left to be decided after the turn, by the index of the call.
    left_open: dict[int, PendingRequest] = field(default_factory=dict)

    @property
    def is_waiting(self) -> bool:
        """Whether calls of the newest reply wait for decisions."""
        return bool(self.waiting_steps)

    def wait(self) -> Waiting:
        """The ending of a run whose calls wait: the others have their results in the journal."""
        steps = tuple(self.state.own(step) for step in self.waiting_steps)
        return Waiting(pending=tuple(self.decisions.requests), steps=steps)

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
        # Until the others are decided, the block stays open.
        return () if self.is_waiting else self._close_block()

    async def refuse_tools(self, reply: Step, refusal: ToolResult) -> Sequence[Message]:
        """Answer each call of a reply with a refusal, and run none of them. Returns their messages."""
        result = JournalledResult(refusal.content, refusal.outcome)
        assistant, indexed_calls = self._open_block(reply)
        await self.state.record([tool_step(index, call, result) for index, call in indexed_calls])
        for _, call in indexed_calls:
            self.state.transcript.add_result(tool_message(assistant, call.id, call.name, result))
        return self._close_block()

    def _open_block(self, reply: Step) -> tuple[Message, Sequence[tuple[int, ToolCall]]]:
        """Add the reply to the transcript; its message, and its calls with their indexes in the journal."""
        assistant = assistant_message(self.state.claimed.id, reply, self.state.source)
        self.state.transcript.open_block(assistant)
        self.state.emit(MessageAdded(assistant))
        return assistant, list(zip(self.state.call_indexes, assistant.tool_calls, strict=True))

    def _close_block(self) -> Sequence[Message]:
        tool_messages = self.state.transcript.close_block()
        for message in tool_messages:
            self.state.emit(MessageAdded(message))
        return tool_messages

    async def _run_tool_call(self, reply: Message, index: int, call: ToolCall) -> None:
        """Run one tool call, or take its result out of the journal; one that has to wait gets none."""
        final_step = self.state.find_final_step(index)
        # A call that was closed by its turn's end has no result: its outcome is unknown.
        if final_step is not None and final_step.result is not None:
            result = tool_result_of(final_step)
            self.subagents.note_finished(index, self.state.tools.toolbox.get(call.name))
        else:
            began_at = time.monotonic()
            found = await self._find_result(index, call)
            if found is None:
                return
            result = self.failures.tell(call.name, found)
            seconds = time.monotonic() - began_at
            await self._record(tool_step(index, call, result, seconds))
            self.state.emit(ToolFinished(call, result.content))
        self.failures.note(call.name, result)
        if result.hand_over is not None:
            self.state.transcript.note_hand_over(index, result.hand_over)
        self.state.transcript.add_result(tool_message(reply, call.id, call.name, result))

    async def _find_result(self, index: int, call: ToolCall) -> JournalledResult | None:
        """The result of a call; None where it has to wait."""
        match self.state.tools.toolbox.get(call.name):
            case AgentTool(has_own_thread=True) as tool:
                return self._wait_for_agent(tool, index, call)
            case AgentTool() as tool:
                return await self._ask_agent(tool, index, call)
            case HandOverTool() as tool:
                return _hand_over(tool, is_nested=self.state.outer is not None)
        self.state.spend_nested(index)
        tool_result = await self._call_or_wait(index, call)
        return None if tool_result is None else await store_files(self.state, tool_result)

    async def _ask_agent(self, tool: AgentTool, index: int, call: ToolCall) -> JournalledResult | None:
        self.state.emit(ToolStarted(call))
        outcome = await self.subagents.call(tool, index, call, build_context(self.state, self.decisions, index, call))
        if isinstance(outcome, Waiting):
            # What its tools wait for, the whole turn does.
            self.decisions.requests.extend(outcome.pending)
            self.waiting_steps.extend([*outcome.steps, tool_intent(index, call, may_wait=True)])
            return None
        return outcome

    def _wait_for_agent(self, tool: AgentTool, index: int, call: ToolCall) -> JournalledResult | None:
        """The answer of an agent in a thread of its own; None where it has to be waited for."""
        decision = self.decisions.find(index, PendingKind.CHILD, call)
        if decision is not None:
            self.state.indexes.agent_calls += 1
            return read_answer(tool, decision)
        self.state.emit(ToolStarted(call))
        child = self.subagents.send(tool, index, call, build_context(self.state, self.decisions, index, call))
        if isinstance(child, JournalledResult):
            return child
        self.decisions.request(index, call, PendingKind.CHILD, child=child)
        self.waiting_steps.append(tool_intent(index, call, may_wait=True))
        return None

    async def _record(self, step: Step) -> None:
        left_open = self.left_open.pop(step.index, None)
        await self.state.record([step], () if left_open is None else [left_open])

    async def _call_or_wait(self, index: int, call: ToolCall) -> ToolResult | None:
        """The result of a call; None where it has to wait."""
        tool = self.state.tools.toolbox.get(call.name)
        if tool is not None and tool.runs_on_client:
            return await self._ask_client(tool, index, call)
        if tool is not None and tool.needs_approval:
            return await self._ask_approval(tool, index, call)
        return await self._start(tool, index, call)

    async def _ask_client(self, tool: Tool, index: int, call: ToolCall) -> ToolResult | None:
        decision = self.decisions.find(index, PendingKind.CLIENT_TOOL, call)
        if decision is not None:
            return client_result(decision)
        try:
            tool.arguments.bind(call.arguments, build_context(self.state, self.decisions, index, call))
        except InvalidArguments as refusal:
            return failure("InvalidArguments", str(refusal))
        return self._wait_for(index, call, PendingKind.CLIENT_TOOL)

    async def _ask_approval(self, tool: Tool, index: int, call: ToolCall) -> ToolResult | None:
        decision = self.decisions.find(index, PendingKind.APPROVAL, call)
        if decision is None and self._has_begun(index):
            # Its rule let it begin, in an earlier attempt.
            return await self._start(tool, index, call)
        if decision is None:
            check = ApprovalCheck(tool, call.arguments, build_context(self.state, self.decisions, index, call))
            result = await self._run(check.as_tool(), index, call)
            if not check.accepts_arguments:
                return result
            if check.is_needed(result):
                return self._wait_for(index, call, PendingKind.APPROVAL)
            return await self._start(tool, index, call)
        if decision.kind is DecisionKind.DENY:
            return denial(decision)
        approved_call = edited_call(call, decision)
        outcome = await self._start(tool, index, approved_call, call)
        return outcome if outcome is None or approved_call is call else tell_edited(outcome, approved_call.arguments)

    async def _start(
        self, tool: Tool | None, index: int, call: ToolCall, asked_call: ToolCall | None = None
    ) -> ToolResult | None:
        """Start a call, if no earlier attempt did; None where it stops to ask the user."""
        if self._has_begun(index) and not (tool is not None and tool.idempotent):
            return UNKNOWN_RESULT
        if self._has_waited(index) or self.state.may_wait(call.name):
            # From here on it may have an effect.
            await self.state.record([tool_intent(index, asked_call or call)])
        self.state.emit(ToolStarted(call))
        result = await self._run(tool, index, call)
        if result.question is None:
            return result
        return self._wait_for(index, asked_call or call, PendingKind.QUESTION, result.question)

    async def _run(self, tool: Tool | None, index: int, call: ToolCall) -> ToolResult:
        dependencies, context = self.state.dependencies, build_context(self.state, self.decisions, index, call)
        threads, loops = dependencies.tool_threads, dependencies.tool_loops
        if tool is None:
            toolbox = self.state.tools.toolbox
            return await toolbox.run(call.name, call.arguments, context, executor=threads, loops=loops)
        return await run(tool, call.arguments, context, executor=threads, loops=loops)

    def _has_begun(self, index: int) -> bool:
        """Whether an earlier attempt began this call, and its worker died before it had a result."""
        step = self.state.claimed.steps.get(index)
        return step is not None and step.state != "waiting"

    def _has_waited(self, index: int) -> bool:
        step = self.state.claimed.steps.get(index)
        return step is not None and step.state == "waiting"

    def _wait_for(
        self, index: int, call: ToolCall, kind: PendingKind, question: Question | None = None
    ) -> ToolResult | None:
        """Ask for a decision; the result for the model where its turn does not wait for it."""
        request = self.decisions.request(index, call, kind, question)
        # Nobody could take up later what an agent wanted that another one called.
        if self.state.agent.when_waiting == "block" or self.state.outer is not None:
            self.waiting_steps.append(tool_intent(index, call, may_wait=True))
            return None
        self.decisions.leave_open(request)
        self.left_open[index] = request
        return NOT_DECIDED_RESULT


def _hand_over(tool: HandOverTool, *, is_nested: bool) -> JournalledResult:
    if is_nested:
        problem = "only the agent that answers in the conversation can hand it over: say in your answer that it should"
        return JournalledResult(failure("NotYours", problem).content, "failed")
    note = f"{tool.target} answers from the user's next message on; tell the user so, and end your answer"
    return JournalledResult(success({"handed_over_to": tool.target, "note": note}).content, hand_over=tool.target)
