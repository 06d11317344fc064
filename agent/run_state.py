"""The state of a run: what it runs with, and what was said and spent in it so far.

What stays true: the parts of the loop share this one state, so that a run that ends at any moment
has all of its messages in one transcript. A run that is nested in a tool call of another one has a state of its own;
what it spends is spent by the outer one, too, and its steps are in the same journal.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.agent import Agent
from agent.dependencies import RunDependencies
from agent.events import Event
from agent.mcp.toolbox import RunTools, load_run_tools
from agent.step_indexes import StepIndexes
from conversation.events import MAX_STEP_INDEX
from conversation.message import Message, Usage
from conversation.pending_call import PendingRequest
from conversation.replay import tool_calls_of
from conversation.step import Step, message_of
from conversation.transcript import Transcript
from conversation.turn import ClaimedTurn


@dataclass(slots=True)
class RunState:
    """The state of one run."""

    agent: Agent
    claimed: ClaimedTurn
    dependencies: RunDependencies
    transcript: Transcript = field(default_factory=Transcript)
    #: The end of the time that this attempt may take, for tools that want to know it.
    deadline: datetime | None = None
    #: The run whose tool call this one is nested in, and the index of that call; None of the turn's own run.
    outer: "RunState | None" = None
    call_index: int | None = None
    #: Messages wait that the model is to read with its next call.
    is_steered: bool = False
    _run_tools: RunTools | None = None
    #: Shared by all runs of the turn.
    indexes: StepIndexes = field(init=False)
    #: The indexes under which earlier attempts journalled this run's calls, in their order, and how many were taken.
    _known_indexes: Sequence[int] = field(init=False)
    _taken: int = 0
    #: The indexes of the newest reply's tool calls.
    call_indexes: Sequence[int] = ()

    def __post_init__(self) -> None:
        self.indexes = StepIndexes(self.claimed.steps) if self.outer is None else self.outer.indexes
        self._known_indexes = self.indexes.indexes_of(self.call_index)

    @property
    def lineage(self) -> "Iterator[RunState]":
        """The run itself, and those that it is nested in, from the inside out."""
        state: RunState | None = self
        while state is not None:
            yield state
            state = state.outer

    @property
    def depth(self) -> int:
        """How deep this run is nested: 0 of the turn's own."""
        return sum(1 for _ in self.lineage) - 1

    @property
    def source(self) -> dict[str, object]:
        """The source of the run's messages: the agent, and its version."""
        return {"agent": self.agent.name, "version": self.agent.version}

    @property
    def tools(self) -> RunTools:
        """The tools that the model is offered, as they were loaded last."""
        return self._run_tools or RunTools(self.agent.toolbox)

    async def load_tools(self) -> None:
        """Load what the agent's MCP servers offer now. Raises `ToolServerUnavailable` where one must not be away."""
        if self.agent.mcp_servers:
            self._run_tools = await load_run_tools(
                self.agent.toolbox, self.agent.mcp_servers, allow_networks=self.dependencies.mcp_allow_networks
            )

    def may_wait(self, tool_name: str) -> bool:
        """Whether a call of this tool may have to wait before it begins."""
        tool = self.tools.toolbox.get(tool_name)
        return tool is not None and tool.may_wait

    @property
    def has_full_journal(self) -> bool:
        """Whether the journal has as many steps as events of a turn can tell apart."""
        return self._taken >= len(self._known_indexes) and self.indexes.next_index > MAX_STEP_INDEX

    def take_index(self) -> int:
        """Take the next index of the journal: a resumed run takes the same ones for the same calls."""
        self._taken += 1
        if self._taken <= len(self._known_indexes):
            return self._known_indexes[self._taken - 1]
        return self.indexes.take_new()

    def take_call_indexes(self, reply: Step) -> Sequence[int]:
        """Take an index for each tool call of a reply; those of a reply that was cut are not run, and have none."""
        count = 0 if reply.is_truncated else len(tool_calls_of(reply))
        self.call_indexes = [self.take_index() for _ in range(count)]
        return self.call_indexes

    def own(self, step: Step) -> Step:
        """The step as the journal has it: with the call that this run is nested in, and its agent."""
        if self.outer is None or step.parent is not None:
            return step
        return replace(step, parent=self.call_index, agent=self.agent.name)

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> None:
        """Record steps of this run, as `Journal.record` does. Messages that wait are for the turn's own run."""
        *_, own_run = self.lineage
        # A stand-in may return nothing.
        own_run.is_steered |= bool(await self.dependencies.journal.record([self.own(step) for step in steps], pending))

    def spend(self, usage: Usage | None, cost: float | None) -> None:
        """Count a model call, for this run and all that it is nested in."""
        for state in self.lineage:
            state.transcript.spend(usage, cost)

    def spend_nested(self, call_index: int) -> None:
        """Count the model calls of an agent whose answer the journal has."""
        for step in self.indexes.steps_of(call_index):
            if step.kind == "model":
                self.spend(step.usage, step.cost)
            else:
                self.spend_nested(step.index)

    async def take_messages(self) -> list[Message]:
        """Take the messages that were told to the turn since its last step: those of the journal, else new ones."""
        told: list[Step] = []
        for index in self._known_indexes[self._taken :]:
            if self.claimed.steps[index].kind != "input":
                break
            told.append(self.claimed.steps[index])
        if not told and self.is_steered and self._taken >= len(self._known_indexes):
            return await self._take_new_messages()
        return self._add_told(told)

    async def _take_new_messages(self) -> list[Message]:
        taking = asyncio.ensure_future(self.dependencies.journal.take_messages(self.indexes.next_index))
        try:
            await asyncio.shield(taking)
        except asyncio.CancelledError:
            # It may have been committed: what was taken belongs to the end that follows, or nobody would see it again.
            await asyncio.wait([taking])
            if not taking.cancelled() and taking.exception() is None:
                self._add_new(taking.result())
            raise
        return self._add_new(taking.result())

    def _add_new(self, told: Sequence[Step]) -> list[Message]:
        self.indexes.next_index += len(told)
        self.is_steered = False
        return self._add_told(told)

    def _add_told(self, told: Sequence[Step]) -> list[Message]:
        self._taken += len(told)
        messages = [message_of(step) for step in told]
        self.transcript.messages.extend(messages)
        return messages

    def find_final_step(self, index: int) -> Step | None:
        """The step that an earlier attempt finished under this index, if there is one."""
        step = self.claimed.steps.get(index)
        return step if step is not None and step.is_final else None

    def find_unanswered_step(self, index: int) -> Step | None:
        """The step under this index that says what earlier attempts spent on a model call in vain."""
        step = self.claimed.steps.get(index)
        return step if step is not None and step.kind == "model" and not step.is_final else None

    def emit(self, event: Event) -> None:
        """Pass an event to the caller, if it wants events."""
        if self.dependencies.emit is not None:
            self.dependencies.emit(event)
