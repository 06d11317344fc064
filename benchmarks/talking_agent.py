"""An agent whose model says its first word at once, and the rest a moment later; a worker of `first_delta` loads it."""

import asyncio
from collections.abc import AsyncIterator

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.registry import register

NAME = "talking"
#: Seconds before the rest: else the whole reply may be stored before its first word is seen.
PAUSE_SECONDS = 0.1
WORDS = ("Hello, ", "world.")


class TalkingModel:
    """A model that begins at once."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        return ModelReply(content="".join(WORDS), model=request.model)

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        first, rest = WORDS
        yield TextDelta(first)
        await asyncio.sleep(PAUSE_SECONDS)
        yield TextDelta(rest)
        yield await self.complete(request)


register(Agent(name=NAME, purpose="You talk.", model=TalkingModel()))
