"""An agent that talks for some seconds, word by word, and looks at something in between."""

import asyncio
from collections.abc import AsyncIterator

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.registry import register
from agent.tools.tool import tool
from conversation.message import ToolCall

WORDS = 60
WORD_SECONDS = 0.03


@tool(idempotent=True)
def look() -> str:
    """Look."""
    return "seen"


class Talker:
    """Says sixty words, calls a tool, and says sixty more."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise NotImplementedError

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        is_first = request.messages[-1]["role"] == "user"
        words = [f"{'first' if is_first else 'last'} {index}\r\n" for index in range(WORDS)]
        for word in words:
            yield TextDelta(word)
            await asyncio.sleep(WORD_SECONDS)
        calls = (ToolCall("look-1", "look", "{}"),) if is_first else ()
        yield ModelReply(content="".join(words), tool_calls=calls, model="talker")


register(Agent(name="talker", model=Talker(), tools=[look]))
