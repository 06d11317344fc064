"""The state of a run: what it runs with, and what was said and spent in it so far.

What stays true: the parts of the loop share this one state, so that a run that ends at any moment
has all of its messages in one transcript.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent.agent import Agent
from agent.dependencies import RunDependencies
from agent.events import Event
from agent.mcp.toolbox import RunTools, load_run_tools
from conversation.events import MAX_STEP_INDEX
from conversation.message import Message
from conversation.pending_call import PendingRequest
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
    #: Messages wait that the model is to read with its next call.
    is_steered: bool = False
    _run_tools: RunTools | None = None
    _index: int = 0

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
        return self._index > MAX_STEP_INDEX

    def take_index(self) -> int:
        """Take the next index of the journal: a resumed run takes the same ones for the same calls."""
        self._index += 1
        return self._index - 1

    async def record(self, steps: Sequence[Step], pending: Sequence[PendingRequest] = ()) -> None:
        """Record steps in the journal. Raises `LeaseLost` once the turn belongs to another worker."""
        # A stand-in may return nothing.
        self.is_steered |= bool(await self.dependencies.journal.record(steps, pending))

    async def take_messages(self) -> list[Message]:
        """Take the messages that were told to the turn since its last step: those of the journal, else new ones."""
        told: list[Step] = []
        while (step := self.claimed.steps.get(self._index + len(told))) is not None and step.kind == "input":
            told.append(step)
        if not told and self.is_steered and self._index not in self.claimed.steps:
            told = await self.dependencies.journal.take_messages(self._index)
            self.is_steered = False
        self._index += len(told)
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
