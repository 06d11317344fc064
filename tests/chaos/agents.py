"""The agent that serves under fire: it looks things up, charges and reserves, as the tickets tell it.

What stays true: each call leaves its effect in the shop's table; a charge may not be repeated, a
reservation may. The model answers as `offline/recall` does, but only over a connection that can be cut.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator

from agent.agent import Agent
from agent.context import RunContext
from agent.model import ModelReply, ModelRequest, Restarted, TextDelta
from agent.recall import RecallModel
from agent.registry import register
from agent.tool import tool
from conversation.errors import ModelError
from tests.chaos.effects import Effect, leave

PROVIDER_VARIABLE = "CHAOS_PROVIDER_PORT"
DATABASE_VARIABLE = "THREADMILL_DATABASE_URL"
#: Seconds for which a tool goes on after its effect, when its worker may die.
LINGER_SECONDS = 0.3
#: Seconds between two words of an answer: long enough for faults to meet turns that run.
PAUSE_SECONDS = 0.04
AGENT = "clerk"


@tool(timeout_seconds=30, idempotent=True)
async def look_up(ref: str) -> str:
    """Look a ticket up."""
    await asyncio.sleep(0.05)
    return f"ticket {ref} is open"


@tool(timeout_seconds=40)
def charge(ref: str, context: RunContext) -> str:
    """Charge a customer. Nobody wants that twice."""
    _leave("charge", ref, context)
    return f"charged for {ref}"


@tool(timeout_seconds=40, idempotent=True)
def reserve(ref: str, context: RunContext) -> str:
    """Reserve an item under the call's own key."""
    _leave("reserve", ref, context)
    return f"reserved for {ref}"


def _leave(name: str, ref: str, context: RunContext) -> None:
    effect = Effect(name, context.turn_id, context.call_id, context.idempotency_key, ref)
    leave(os.environ[DATABASE_VARIABLE], effect)
    time.sleep(LINGER_SECONDS)


class Remote(RecallModel):
    """The offline model, behind a connection to its provider."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | Restarted | ModelReply]:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ[PROVIDER_VARIABLE]))
        except OSError:
            raise ModelError("unavailable", "no connection to the provider", retryable=True) from None
        try:
            async for item in super().stream(request):
                if isinstance(item, TextDelta):
                    await asyncio.sleep(PAUSE_SECONDS)
                await _word(reader, writer)
                yield item
        finally:
            writer.close()


async def _word(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(b"more\n")
        answered = await reader.readline()
    except OSError:
        answered = b""
    if not answered:
        raise ModelError("cut_off", "the provider's connection broke", retryable=True)


register(
    Agent(
        name=AGENT,
        purpose="Do what the ticket asks.",
        tools=[look_up, charge, reserve],
        model=Remote(),
        max_turn_attempts=100,
    )
)
