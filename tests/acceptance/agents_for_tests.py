"""Agents for worker processes of the tests: what they do is told by the message, and noted in a folder.

What stays true: a tool notes its begin and its end in a file, with the id of its call, so that a test
can count effects from outside; whatever takes long waits for a file that the test creates.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.offline.model import RecallModel
from agent.registry import register
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from conversation.errors import ModelError
from tests.acceptance.gates import GATE_SECONDS, note, opened


@tool
def write(text: str, context: RunContext) -> str:
    """Note a text."""
    note("write", context, text=text)
    return f"wrote {text}"


@tool(timeout_seconds=GATE_SECONDS)
async def hold(gate: str, context: RunContext) -> str:
    """Wait for a gate. Doing it twice is not as good as once."""
    note("hold begins", context)
    await opened(gate)
    note("hold ends", context)
    return "held"


@tool(timeout_seconds=GATE_SECONDS, idempotent=True)
async def hold_again(gate: str, context: RunContext) -> str:
    """Wait for a gate. May be done again."""
    note("hold_again begins", context)
    await opened(gate)
    note("hold_again ends", context)
    return "held again"


@tool(needs_approval=True)
def refund(amount: int, context: RunContext) -> str:
    """Give money back, if somebody says so."""
    note("refund", context, amount=amount)
    return f"refunded {amount}"


@tool(idempotent=True)
def die(context: RunContext) -> str:
    """Take the whole process along, each time that it is tried."""
    note("die", context)
    os.kill(os.getpid(), 9)
    return "unreachable"


@tool
def fail(text: str) -> str:
    """Raise an error that quotes what it was given."""
    raise ValueError(f"no luck with {text}")


class Thinker(RecallModel):
    """Answers as `offline/recall` does, once the gate `model` is open."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        note("asked")
        await opened("model")
        return await super().complete(request)


class Broken(RecallModel):
    """Raises what no adapter should, and quotes the conversation in it."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise RuntimeError(f"cannot answer {request.messages[-1]['content']}")


class Refusing(RecallModel):
    """Is asked in vain, as by a provider that quotes the conversation in its refusal."""

    def __init__(self, kind: str, *, retryable: bool) -> None:
        super().__init__()
        self._kind, self._retryable = kind, retryable

    async def complete(self, request: ModelRequest) -> ModelReply:
        text = request.messages[-1]["content"]
        raise ModelError(self._kind, f"some/model: your prompt {text!r} was refused", retryable=self._retryable)


class Unstorable(RecallModel):
    """Answers with what the database refuses."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        note("asked")
        reply = await super().complete(request)
        return ModelReply(content=reply.content, model=reply.model, finish_reason="st\x00op")


class SelfCancelling(RecallModel):
    """Raises a cancellation that nobody asked for, as a library does whose inner task was cancelled."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        note("asked")
        raise asyncio.CancelledError


class Talker(RecallModel):
    """Says its answer word by word, and falls silent before the last word until a gate opens."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        items = [item async for item in super().stream(request)]
        for item in items[:-2]:
            yield item
        note("talks")
        await opened("talker")
        for item in items[-2:]:
            yield item


TOOLS = (write, hold, hold_again, refund, die, fail)

register(Agent(name="worker", purpose="Do as you are told.", tools=TOOLS))
register(Agent(name="thinker", model=Thinker(), streams=False, tools=TOOLS))
register(Agent(name="talker", model=Talker(), tools=TOOLS))
register(Agent(name="slow_talker", tools=TOOLS, parameters={"delay_seconds": 0.03}))
register(Agent(name="broken", model=Broken(), streams=False))
register(Agent(name="refused", model=Refusing("unauthorized", retryable=False), streams=False))
register(Agent(name="away", model=Refusing("unavailable", retryable=True), streams=False))
register(Agent(name="unstorable", model=Unstorable(), streams=False))
register(Agent(name="self_cancelling", model=SelfCancelling(), streams=False))
register(Agent(name="hasty", tools=TOOLS, max_turn_seconds=1))
register(Agent(name="reader", purpose="Answer out of the files."))
