"""An agent that asks a person before its tool runs; a worker of `steering` loads it.

What stays true: the tool's result, which is the reply as well, is the moment in which it ran. A message that begins
with `plain` is answered at once.
"""

import time

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest
from agent.registry import register
from agent.tools.tool import tool
from conversation.message import ToolCall

#: A message that asks for nothing.
PLAIN = "plain"


@tool(needs_approval=True)
def act() -> str:
    """Do what a person has to approve."""
    return f"{time.time():.6f}"


class AskingModel:
    """A model that calls the tool once, and then says what that gave."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        last = request.messages[-1]
        if last["role"] == "user" and last["content"] != PLAIN:
            return ModelReply(tool_calls=(ToolCall("call-1", "act", "{}"),), model=request.model)
        return ModelReply(content=str(last["content"]).strip('"'), model=request.model)


asking = register(Agent(name="asking", purpose="You ask.", model=AskingModel(), tools=[act], streams=False))
