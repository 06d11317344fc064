"""A model that is none: it answers out of the request alone, without a network, the same each time.

It is for trying things out and for tests: it quotes what was written, looks up the sentence that
shares most words with a question, and calls the tools that it is told to call:

    call add with {"a": 1, "b": 2} and convert({"to": "EUR"}), then call send with {"text": "done"}

What stays true: every answer says what wrote it; equal requests get equal replies, tool call ids
included. `parameters["delay_seconds"]` slows it down: per word when it streams, once when it
answers whole. It counts words where a provider counts tokens, and it costs nothing.
Asked for a summary, it picks the sentences that must not be lost: `agent/offline/summary.py` says which.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from agent.chat_messages import request_digest
from agent.models.parts import read_text_part
from agent.models.protocol import RECALL_MODEL, ModelReply, ModelRequest, Restarted, TextDelta
from agent.offline.lookup import (
    Sentence,
    best_matches,
    file_sentences,
    is_question,
    result_sentences,
    text_sentences,
)
from agent.offline.summary import extracted
from agent.offline.tool_commands import Order, orders_in, tools_named
from agent.summaries.prompt import is_comparison, read_material
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage

DISCLAIMER = "offline/recall is not a language model: it looks things up in this conversation."

#: Characters of the user's message that are quoted back.
QUOTE_MAX_CHARS = 2_000
#: Characters of one tool's result in an answer.
RESULT_SHOWN_CHARS = 500

_WORD = re.compile(r"\S+\s*|\s+")


class RecallModel:
    """Answers requests for `offline/recall`. It has no use for `timeout_seconds` and `fallbacks`."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer after one pause."""
        delay_seconds = _delay_seconds(request)
        reply = _reply(request)
        await asyncio.sleep(delay_seconds)
        return reply

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | Restarted | ModelReply]:
        """Answer word by word, with a pause before each."""
        delay_seconds = _delay_seconds(request)
        reply = _reply(request)
        if reply.tool_calls:
            await asyncio.sleep(delay_seconds)
        for word in _WORD.findall(reply.content):
            await asyncio.sleep(delay_seconds)
            yield TextDelta(word)
        yield reply


def _delay_seconds(request: ModelRequest) -> float:
    if request.model != RECALL_MODEL:
        raise ModelError("refused", f"{RECALL_MODEL} cannot answer as {request.model}", retryable=False)
    delay = request.parameters.get("delay_seconds", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= 3600:
        raise ModelError("refused", "delay_seconds must be a number from 0 to 3600", retryable=False)
    return float(delay)


def _reply(request: ModelRequest) -> ModelReply:
    if material := read_material(request.messages):
        return _finish(request, content=json.dumps(extracted(material), ensure_ascii=False), tool_calls=())
    if is_comparison(request.messages):
        return _finish(request, content='{"ok": true, "missing": []}', tool_calls=())
    asked_at = _last_user_index(request.messages)
    earlier, current = request.messages[:asked_at], request.messages[asked_at:]
    question = _text(current[0]) if current else ""
    stages = orders_in(question, tools_named(request.tools))
    done = sum(1 for message in current if message.get("tool_calls"))
    if done < len(stages) and (calls := _calls(stages[done], request)):
        return _finish(request, content="", tool_calls=calls)
    lines = [DISCLAIMER, _quote(current)]
    results = [message for message in current if message["role"] == "tool"]
    lines += [_told(result) for result in results]
    lines += [order.complaint for order in _open_orders(stages, done)]
    if not stages and is_question(question):
        lines += _found(question, earlier, current)
    return _finish(request, content="\n".join(lines), tool_calls=())


def _finish(request: ModelRequest, *, content: str, tool_calls: tuple[ToolCall, ...]) -> ModelReply:
    written = [content, *(call.arguments for call in tool_calls)]
    usage = Usage(
        prompt_tokens=sum(len(_all_text(message).split()) for message in request.messages),
        completion_tokens=sum(len(text.split()) for text in written),
    )
    return ModelReply(
        content=content,
        tool_calls=tool_calls,
        model=RECALL_MODEL,
        finish_reason="tool_calls" if tool_calls else "stop",
        usage=usage,
        cost=0.0,
    )


def _last_user_index(messages: Sequence[Mapping[str, Any]]) -> int:
    """Where the message to answer stands; behind the last message if nobody wrote any."""
    places = (i for i in range(len(messages) - 1, -1, -1) if messages[i]["role"] == "user")
    return next(places, len(messages))


def _calls(orders: Sequence[Order], request: ModelRequest) -> tuple[ToolCall, ...]:
    """The calls of one stage; ids differ as soon as anything in the request does."""
    digest = request_digest(request)
    ready = [order for order in orders if not order.complaint]
    return tuple(
        ToolCall(_call_id(digest, index), order.name, order.arguments) for index, order in enumerate(ready)
    )


def _call_id(digest: str, index: int) -> str:
    return "call_" + hashlib.sha256(f"{digest}:{index}".encode()).hexdigest()[:24]


def _open_orders(stages: Sequence[Sequence[Order]], done: int) -> list[Order]:
    """What could not be called: all of it up to the stage at which the turn stops."""
    return [order for stage in stages[: done + 1] for order in stage if order.complaint]


def _quote(current: Sequence[Mapping[str, Any]]) -> str:
    if not current:
        return "Nobody wrote anything yet."
    text = _text(current[0])
    lines = [f'You wrote: "{_shortened(text, QUOTE_MAX_CHARS)}"' if text else "You wrote no text."]
    attached = _attached(current[0])
    if attached:
        lines.append(f"You attached: {', '.join(attached)}.")
    return "\n".join(lines)


def _told(result: Mapping[str, Any]) -> str:
    """One tool's result in a line."""
    name, content = result.get("name") or "the tool", _text(result)
    try:
        value = json.loads(content)
    except ValueError:
        value = content
    if isinstance(value, dict) and isinstance(error := value.get("error"), dict):
        why = f"{error.get('type')}: {error.get('message')}"
        return f"{name} failed: {_shortened(why, RESULT_SHOWN_CHARS)}"
    shown = value if isinstance(value, str) else content
    return f"{name} returned: {_shortened(shown, RESULT_SHOWN_CHARS)}"


def _found(
    question: str, earlier: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]
) -> list[str]:
    matches = best_matches(question, _sentences(earlier, current))
    if not matches:
        return ["I found nothing about that in this conversation."]
    return [f'From {match.origin}: "{match.text}"' for match in matches]


def _sentences(earlier: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]) -> list[Sentence]:
    """All that may be quoted, in the order of the conversation; messages are counted without system ones."""
    found: list[Sentence] = []
    spoken = [message for message in (*earlier, *current) if message["role"] != "system"]
    number_asked = sum(1 for message in earlier if message["role"] != "system") + 1
    for number, message in enumerate(spoken, start=1):
        if message["role"] == "user" and number != number_asked:
            found += text_sentences(_text(message), origin=f"message {number}")
        if message["role"] == "tool":
            found += result_sentences(_text(message), origin=f"message {number}")
        for filename, text in _files(message):
            found += file_sentences(text, origin=f"attached {filename}")
    return found


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _text(message: Mapping[str, Any]) -> str:
    """What was written, without the text of attached files."""
    written = (part for part in _parts(message) if part["type"] == "text" and not read_text_part(part))
    return "\n".join(str(part["text"]) for part in written)


def _all_text(message: Mapping[str, Any]) -> str:
    return "\n".join(str(part["text"]) for part in _parts(message) if part["type"] == "text")


def _files(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [file for part in _parts(message) if (file := read_text_part(part))]


def _attached(message: Mapping[str, Any]) -> list[str]:
    images = sum(1 for part in _parts(message) if part["type"] == "image_url")
    names = [filename for filename, _text in _files(message)]
    return [*names, *([f"{images} image(s)"] if images else [])]


def _shortened(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"
