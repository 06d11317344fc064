"""An agent as others call it, and the agents that it calls itself."""

from typing import Self, cast

from agent.tools.agent_tool import AgentTool, Subagent
from agent.tools.toolbox import Toolbox


class CallableAgent:
    """The part of an agent that others call it by."""

    #: The agent's own tools.
    toolbox: Toolbox

    def as_tool(self, *, name: str | None = None, description: str | None = None) -> AgentTool:
        """A tool with which another agent asks this one: it gives a task, and its result is the answer.

        The agent runs in the same turn, whose time and tokens it spends; it sees the task, and nothing else that was
        said. Without a `name`, the tool has the agent's; the description is for the model that chooses among tools.
        """
        return AgentTool.of(cast("Subagent", self), name=name, description=description)

    @property
    def subagents(self) -> tuple[Self, ...]:
        """The agents that it may call as tools, and those that they may, each once."""
        called = [tool.agent for tool in self.toolbox if isinstance(tool, AgentTool)]
        return tuple(dict.fromkeys(each for agent in called for each in (agent, *agent.subagents)))
