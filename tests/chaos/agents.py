"""The agent that serves under fire: a support desk that looks things up and acts, as the tickets tell it.

What stays true: each write leaves its effect in the shop's table; some may be repeated and some may
not. The model answers as `offline/recall` does, but only over a connection that can be cut.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.offline.model import RecallModel
from agent.registry import register
from agent.tools.produced_file import ProducedFile
from agent.tools.run_context import RunContext
from agent.tools.tool import Tool
from conversation.errors import ModelError
from tests.chaos.effects import Effect, leave
from tests.chaos.tickets import INVOICE, ONCE, READS, REPEATABLE, invoice_of

PROVIDER_VARIABLE = "CHAOS_PROVIDER_PORT"
SHOP_VARIABLE = "CHAOS_SHOP_URL"
#: Seconds for which a tool goes on after its effect, when its worker may die.
LINGER_SECONDS = 0.3
#: Seconds of a look-up.
LOOK_SECONDS = 0.1
#: Seconds between two words of an answer: long enough for faults to meet turns that run.
PAUSE_SECONDS = 0.03
#: Seconds of one call: beyond the patience of `leave`, so that a tool that is cut off had its chance.
TOOL_SECONDS = 60
AGENT = "desk"


def _reader(name: str) -> Tool:
    async def look(ref: str, details: dict[str, Any]) -> str:
        """Look something up that belongs to a ticket."""
        await asyncio.sleep(LOOK_SECONDS)
        return f"{name} for {ref}: {len(details)} details"

    return Tool.from_function(look, name=name, timeout_seconds=TOOL_SECONDS, idempotent=True)


def _writer(name: str, *, repeatable: bool) -> Tool:
    def act(ref: str, details: dict[str, Any], context: RunContext) -> str:
        """Change something for a ticket."""
        _leave(name, ref, context, repeatable=repeatable)
        return f"{name} for {ref} is done: {len(details)} details"

    return Tool.from_function(act, name=name, timeout_seconds=TOOL_SECONDS, idempotent=repeatable)


def write_invoice(ref: str, details: dict[str, Any], context: RunContext) -> ProducedFile:
    """Write the invoice of a ticket, and number it in the shop's books. Its number belongs to the key."""
    _leave(INVOICE, ref, context, repeatable=True)
    return ProducedFile(f"invoice-{ref}.txt", invoice_of(ref).encode(), "text/plain")


def _leave(name: str, ref: str, context: RunContext, *, repeatable: bool) -> None:
    effect = Effect(name, repeatable, context.turn_id, context.call_id, context.idempotency_key, ref)
    leave(os.environ[SHOP_VARIABLE], effect)
    time.sleep(LINGER_SECONDS)


class Remote(RecallModel):
    """The offline model, behind a connection to its provider."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
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
        raise ModelError("stream_interrupted", "the provider's connection broke", retryable=True)


def _tools() -> list[Tool | Callable[..., Any]]:
    return [
        *map(_reader, READS),
        *(_writer(name, repeatable=True) for name in REPEATABLE),
        *(_writer(name, repeatable=False) for name in ONCE),
        Tool.from_function(write_invoice, timeout_seconds=TOOL_SECONDS, idempotent=True),
    ]


register(Agent(name=AGENT, purpose="Do what the ticket asks.", tools=_tools(), model=Remote(), max_turn_attempts=100))
