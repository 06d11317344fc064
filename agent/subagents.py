"""Agents that a run calls as tools: each has a run of its own, nested in the tool call, in the same turn.

What stays true: what a nested run asked and did is in the turn's journal, so that an attempt that takes the turn over
goes on in its middle. It spends the turn's tokens and time. What it cannot do is a result for whoever called it; only
what the whole turn has to wait for passes through.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from agent.events import AgentEvent, Event
from agent.model_factory import model_for
from agent.run_state import RunState
from agent.tools.agent_tool import AgentTool
from agent.tools.arguments import InvalidArguments
from agent.tools.result import ToolResult, failure, success
from agent.tools.run_context import RunContext
from agent.tools.tool import Tool
from conversation.attachment import Attachment
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.pending_call import ChildTurn, Decision
from conversation.replay import JournalledResult
from conversation.step import Step
from conversation.storable_text import make_storable
from conversation.turn import Completed, Failed, Waiting
from conversation.validation import CONTENT_MAX_CHARS

#: What the model reads of a call of an agent that did not answer, before the reason.
NO_ANSWER = "the agent {agent} gave no answer: {reason}"


class NestedRun(Protocol):
    """A run that is nested in a tool call: see `agent.loop.Run`."""

    async def run_nested(self) -> Completed | Failed | Waiting:
        """Run to an answer, or to what is in its way. Raises what the whole turn is retried for."""
        ...

    def charge_unanswered_calls(self) -> tuple[Step, ...]:
        """Charge what was spent on model calls that got no reply. Returns the steps that say so."""
        ...


@dataclass(slots=True)
class Subagents:
    """The agents that one run calls."""

    state: RunState
    create_run: Callable[[RunState], NestedRun]
    #: Those that run, and those that were broken off: the end of the turn charges what they were asking.
    _open_runs: dict[int, NestedRun] = field(default_factory=dict)

    def send(self, tool: AgentTool, index: int, call: ToolCall, context: RunContext) -> ChildTurn | JournalledResult:
        """The turn that is to answer in a thread of its own; the refusal where there is to be none."""
        refusal, request = self._read_request(tool, call, context)
        if refusal is not None:
            return JournalledResult(refusal.content, refusal.outcome)
        claimed = self.state.claimed
        turn_id = new_id()
        return ChildTurn(
            turn_id=turn_id,
            thread_id=f"{claimed.id}.{index}.{turn_id[-6:]}",
            agent=tool.agent.name,
            content=request,
            depth=claimed.depth + self.state.depth + 1,
            user=claimed.user,
            metadata=claimed.metadata,
        )

    async def call(
        self, tool: AgentTool, index: int, call: ToolCall, context: RunContext
    ) -> JournalledResult | Waiting:
        """Ask an agent, or go on where an earlier attempt was. Its answer is the result, unless its own tools wait."""
        refusal, request = self._read_request(tool, call, context)
        if refusal is not None:
            return JournalledResult(refusal.content, refusal.outcome)
        state = self._nest(tool, index, request)
        run = self._open_runs[index] = self.create_run(state)
        ending = await run.run_nested()
        if isinstance(ending, Waiting):
            del self._open_runs[index]
            return ending
        steps = [step for step in ending.steps if state.find_final_step(step.index) is None]
        if steps:
            await state.record(steps)
        del self._open_runs[index]
        result = _result_of(ending, tool)
        return JournalledResult(result.content, result.outcome, _files_of(ending))

    def note_finished(self, index: int, tool: Tool | None) -> None:
        """Count a call whose result the journal has: what was spent in it, and the call of an agent itself."""
        self.state.spend_nested(index)
        self.state.indexes.agent_calls += isinstance(tool, AgentTool)

    def charge_unanswered_calls(self) -> tuple[Step, ...]:
        """Charge what was spent on model calls of agents that were broken off. Returns the steps that say so."""
        runs, self._open_runs = self._open_runs, {}
        return tuple(step for run in runs.values() for step in run.charge_unanswered_calls())

    def _read_request(self, tool: AgentTool, call: ToolCall, context: RunContext) -> tuple[ToolResult | None, str]:
        """The refusal of a call, and the task that it names."""
        refusal = self._refuse(tool)
        if refusal is not None:
            return refusal, ""
        try:
            request = str(tool.arguments.bind(call.arguments, context).arguments["request"])
        except InvalidArguments as error:
            return failure("InvalidArguments", str(error)), ""
        if not request.strip():
            return failure("InvalidArguments", "request: is empty"), ""
        return None, make_storable(request)[:CONTENT_MAX_CHARS]

    def _refuse(self, tool: AgentTool) -> ToolResult | None:
        """The refusal of a call for which the turn has no room; None of most."""
        *_, own = self.state.lineage
        dependencies = self.state.dependencies
        max_depth = dependencies.max_depth if own.agent.max_depth is None else own.agent.max_depth
        if self.state.claimed.depth + self.state.depth >= max_depth:
            return failure("TooDeep", f"agents call agents at most {max_depth} deep: {tool.agent.name} was not asked")
        max_children = dependencies.max_children if own.agent.max_children is None else own.agent.max_children
        self.state.indexes.agent_calls += 1
        if self.state.indexes.agent_calls > max_children:
            return failure("TooMany", f"a turn calls at most {max_children} agents: {tool.agent.name} was not asked")
        return None

    def _nest(self, tool: AgentTool, index: int, request: str) -> RunState:
        outer, agent = self.state, tool.agent
        question = Message(id=f"{outer.claimed.id}-{index}-request", role="user", content=request)
        dependencies = outer.dependencies
        name = agent.model_name or dependencies.default_model_name or dependencies.model_name
        emit = dependencies.emit
        return RunState(
            agent,
            replace(outer.claimed, agent=agent.name, window=(question,), context=(), remaining_seconds=None),
            replace(
                dependencies,
                model=agent.model or model_for(name),
                model_name=name,
                emit=None if emit is None else partial(_emit_nested, emit, agent.name, index),
            ),
            deadline=outer.deadline,
            outer=outer,
            call_index=index,
        )


def _emit_nested(emit: Callable[[Event], None], agent: str, index: int, event: Event) -> None:
    if isinstance(event, AgentEvent):
        emit(replace(event, path=(index, *event.path)))
    else:
        emit(AgentEvent(agent, (index,), event))  # type: ignore[arg-type]  # a nested run finishes no turn


def read_answer(tool: AgentTool, decision: Decision) -> JournalledResult:
    """The result of a call whose agent answered in a thread of its own, or did not."""
    value = decision.value if isinstance(decision.value, Mapping) else {}
    if "state" not in value:
        # Somebody decided in its place.
        result = success(decision.value)
    elif value["state"] == "completed":
        result = success(str(value.get("content", "")))
    else:
        error = value.get("error") or {}
        reason = ": ".join(filter(None, [str(error.get("kind") or value.get("state")), error.get("message")]))
        result = failure("AgentFailed", NO_ANSWER.format(agent=tool.agent.name, reason=reason))
    return JournalledResult(result.content, result.outcome)


def _result_of(ending: Completed | Failed, tool: AgentTool) -> ToolResult:
    if isinstance(ending, Completed):
        return success(ending.messages[-1].content)
    reason = f"{ending.error.kind}: {ending.error.message}"
    return failure("AgentFailed", NO_ANSWER.format(agent=tool.agent.name, reason=reason))


def _files_of(ending: Completed | Failed) -> tuple[Attachment, ...]:
    """The files that the agent's tools made: the messages that have them are not in the history."""
    files = {file.sha256: file for message in ending.messages for file in message.attachments}
    return tuple(files.values())
