"""The model under fire: it does what the tickets in its view ask, each order once, and answers all of them.

What stays true: it answers out of the request alone, the same each time, over a connection that can be cut. A ticket
is open until an answer stands behind it: so an interrupted one is taken up by the next turn that sees it, and one that
was rolled back by none.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from agent.chat_messages import request_digest
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.offline.tool_commands import ToolCommand, parse_commands, required_parameters
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from tests.chaos.tickets import references

PROVIDER_VARIABLE = "CHAOS_PROVIDER_PORT"
#: Seconds between two words of an answer: long enough for faults to meet turns that run.
PAUSE_SECONDS = 0.03
NAME = "chaos"

ChatMessage = Mapping[str, Any]


class DeskModel:
    """The model of every agent."""

    #: No breaker is asked: the connection is cut for moments.
    guards_itself = True

    async def complete(self, request: ModelRequest) -> ModelReply:
        """The whole answer at once."""
        return reply_to(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        """The answer word by word, each of which comes over the connection."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ[PROVIDER_VARIABLE]))
        except OSError:
            raise ModelError("unavailable", "no connection to the provider", retryable=True) from None
        reply = reply_to(request)
        try:
            for word in reply.content.split(" ") if reply.content else ():
                await asyncio.sleep(PAUSE_SECONDS)
                await _ask(reader, writer)
                yield TextDelta(f"{word} ")
            await _ask(reader, writer)
            yield reply
        finally:
            writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        writer.write(b"more\n")
        answered = await reader.readline()
    except OSError:
        answered = b""
    if not answered:
        raise ModelError("stream_interrupted", "the provider's connection broke", retryable=True)


def reply_to(request: ModelRequest) -> ModelReply:
    """The next orders of the tickets that are open, or the answer to all of them."""
    spoken = [message for message in request.messages if message["role"] != "system"]
    current = spoken[_open_from(spoken) :]
    calls = [
        ToolCall(_call_id(request, number), order.name, order.arguments)
        for number, order in enumerate(_next_orders(current, required_parameters(request.tools)))
    ]
    content = "" if calls else _answer(current)
    usage = Usage(prompt_tokens=len(spoken), completion_tokens=len(content.split()))
    return ModelReply(
        # In the words in which it is streamed, each with a space behind it.
        content=f"{content} " if content else "",
        tool_calls=tuple(calls),
        model=NAME,
        finish_reason="tool_calls" if calls else "stop",
        usage=usage,
        cost=0.0,
    )


def _open_from(spoken: Sequence[ChatMessage]) -> int:
    """The index behind the last answer."""
    answers = (index for index, m in enumerate(spoken) if m["role"] == "assistant" and not m.get("tool_calls"))
    return max(answers, default=-1) + 1


def _next_orders(current: Sequence[ChatMessage], tools: Mapping[str, Sequence[str]]) -> Sequence[ToolCommand]:
    """What is left of the first stage of the first ticket that has something left."""
    made = {_order_key(call["function"]["name"], call["function"]["arguments"]) for call in _calls(current)}
    for message in current:
        if message["role"] != "user":
            continue
        for stage in parse_commands(_text(message), tools):
            if left := [order for order in stage if _order_key(order.name, order.arguments) not in made]:
                return left
    return ()


def _calls(current: Sequence[ChatMessage]) -> Iterator[Mapping[str, Any]]:
    for message in current:
        yield from message.get("tool_calls") or ()


def _order_key(name: str, arguments: str) -> tuple[str, str]:
    return name, json.dumps(json.loads(arguments), sort_keys=True)


def _answer(current: Sequence[ChatMessage]) -> str:
    """Which tickets it answers, and what its tools said."""
    asked = [ref for message in current if message["role"] == "user" for ref in references(_text(message))[:1]]
    said = [_text(message) for message in current if message["role"] == "tool"]
    return f"Answered: {', '.join(asked) or 'nothing new'}. {' / '.join(said)}"


def _text(message: ChatMessage) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in content if part["type"] == "text")


def _call_id(request: ModelRequest, number: int) -> str:
    return "call_" + hashlib.sha256(f"{request_digest(request)}:{number}".encode()).hexdigest()[:24]
