"""Agents as tools of others: one is asked and answers, or takes the whole thread over.

What stays true: a tool names an agent that was there before it, so no agent can call itself, by whatever way round.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import Field

from agent.tools.arguments import Arguments
from agent.tools.tool import TOOL_NAME, Tool
from conversation.errors import InvalidInput
from conversation.validation import check_text

#: How the name of a tool that hands a thread over begins.
HAND_OVER_PREFIX = "hand_over_to_"


class Subagent(Protocol):
    """An agent, as far as a tool that asks it knows it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgentTool(Tool):
    """A tool that asks an agent: its answer is the result."""

    #: An `Agent`.
    agent: Any
    #: It answers in a thread of its own; the turn that asks waits for that meanwhile.
    has_own_thread: bool = False

    @classmethod
    def of(cls, agent: Subagent, *, name: str | None, description: str | None, has_own_thread: bool) -> "AgentTool":
        """The tool that asks an agent. Raises `InvalidInput`."""
        name = _check_name(agent.name if name is None else name)
        if description is None:
            description = f"Gives a task to the agent {agent.name}, and returns its answer."
        return cls(
            name=name,
            description=check_text("tool.description", description),
            function=_ask,
            arguments=Arguments.from_function(_ask, tool=name),
            # Its steps are in the journal: to call it again goes on where it was.
            idempotent=True,
            agent=agent,
            has_own_thread=has_own_thread,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandOverTool(Tool):
    """A tool that hands the thread over to another agent, which answers from the next turn on."""

    #: The agent's name.
    target: str

    @classmethod
    def to(cls, target: object, *, name: str | None, description: str | None) -> "HandOverTool":
        """The tool that hands a thread over to an agent. Raises `InvalidInput`."""
        if not isinstance(target, str) or not TOOL_NAME.fullmatch(target):
            raise InvalidInput("agent", f"is {target!r}", "pass an agent, or the name of one")
        name = _check_name(f"{HAND_OVER_PREFIX}{target}"[:64] if name is None else name)
        if description is None:
            description = f"Hands this conversation over to the agent {target}, which answers from the next message on."
        return cls(
            name=name,
            description=check_text("tool.description", description),
            function=_hand_over,
            arguments=Arguments.from_function(_hand_over, tool=name),
            idempotent=True,
            target=target,
        )


def _check_name(name: str) -> str:
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise InvalidInput("tool.name", f"is {name!r}", "use 1 to 64 letters, digits, _ and -; name= gives another one")
    return name


async def _ask(
    request: Annotated[
        str,
        Field(description="The task, with all that is needed for it: the agent sees nothing else of the conversation."),
    ],
) -> str:
    """The signature that a model fills in. The loop of the turn runs the agent: it needs the turn's journal."""
    raise InvalidInput("tool", f"asks an agent, with {len(request)} characters", "run it in a turn")


async def _hand_over() -> str:
    """The signature that a model fills in. The loop of the turn notes it."""
    raise InvalidInput("tool", "hands a thread over", "run it in a turn")


def hand_over_to(agent: Subagent | str, *, name: str | None = None, description: str | None = None) -> HandOverTool:
    """Make a tool with which an agent hands its thread over to another one: `tools=[hand_over_to("billing")]`.

    The other agent answers what is sent to the thread from the next turn on, where the sender names no agent.
    """
    target = agent if isinstance(agent, str) else getattr(agent, "name", None)
    return HandOverTool.to(target, name=name, description=description)
