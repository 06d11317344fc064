"""An agent as others call it, and the agents that it calls itself."""

from typing import Any, Self

from agent.tools.agent_tool import AgentTool
from agent.tools.toolbox import Toolbox


class CallableAgent:
    """The part of an agent that others call it by."""

    #: The agent's own tools.
    toolbox: Toolbox

    def as_tool(self, *, name: str | None = None, description: str | None = None, thread: bool = False) -> AgentTool:
        """A tool with which another agent asks this one: it gives a task, and its result is the answer.

        The agent runs in the same turn, whose time and tokens it spends; it sees the task, and nothing else that was
        said. Without a `name`, the tool has the agent's; the description is for the model that chooses among tools.

        With `thread`, it answers in a turn and a thread of its own, on any worker that serves it: the turn that asks
        is in the state `waiting` meanwhile, and holds no worker.
        """
        agent: Any = self
        return AgentTool.of(agent, name=name, description=description, has_own_thread=thread)

    @property
    def subagents(self) -> tuple[Self, ...]:
        """The agents that it may call in its own turns, and those that they may, each once."""
        called = [tool.agent for tool in self.toolbox if isinstance(tool, AgentTool) and not tool.has_own_thread]
        return tuple(dict.fromkeys(each for agent in called for each in (agent, *agent.subagents)))
