"""The offline model: it answers out of the request alone, without a network, the same each time.

It is for trying things out and for tests: it quotes what was written, looks up the sentence that
shares most words with a question, and calls the tools that a user names:

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
from agent.models.protocol import RECALL_MODEL, ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.models.request_fitting import is_question as asks
from agent.offline.lookup import Sentence, best_matches, file_sentences, is_question, result_sentences, text_sentences
from agent.offline.summary import build_summary
from agent.offline.tool_commands import ToolCommand, parse_commands, required_parameters
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
    """The model `offline/recall`, which has no use for `timeout_seconds` and `fallbacks`."""

    #: It is never away: no breaker is asked.
    guards_itself = True

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer after one pause."""
        delay_seconds = _delay_seconds(request)
        reply = _build_reply(request)
        await asyncio.sleep(delay_seconds)
        return reply

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        """Answer word by word, with a pause before each, if there is to be one."""
        delay_seconds = _delay_seconds(request)
        reply = _build_reply(request)
        if reply.tool_calls:
            await asyncio.sleep(delay_seconds)
        for word in _WORD.findall(reply.content):
            if delay_seconds:
                await asyncio.sleep(delay_seconds)
            yield TextDelta(word)
        yield reply


def _delay_seconds(request: ModelRequest) -> float:
    if request.model != RECALL_MODEL:
        raise ModelError("refused", f"{RECALL_MODEL} cannot answer as {request.model}", retryable=False, is_ours=True)
    delay = request.parameters.get("delay_seconds", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= 3600:
        raise ModelError("refused", "delay_seconds must be a number from 0 to 3600", retryable=False, is_ours=True)
    return float(delay)


def _build_reply(request: ModelRequest) -> ModelReply:
    if material := read_material(request.messages):
        return _finish(request, content=json.dumps(build_summary(material), ensure_ascii=False), tool_calls=())
    if is_comparison(request.messages):
        return _finish(request, content='{"ok": true, "missing": []}', tool_calls=())
    question_index = _last_question_index(request.messages)
    earlier_messages, current_messages = request.messages[:question_index], request.messages[question_index:]
    question = _text(current_messages[0]) if current_messages else ""
    stages = parse_commands(question, required_parameters(request.tools))
    stages_run = sum(1 for message in current_messages if message.get("tool_calls"))
    if stages_run < len(stages) and (calls := _build_calls(stages[stages_run], request)):
        return _finish(request, content="", tool_calls=calls)
    lines = [DISCLAIMER, _quote(current_messages)]
    results = [message for message in current_messages if message["role"] == "tool"]
    lines += [_describe_result(result) for result in results]
    lines += [order.complaint for order in _uncallable_commands(stages, stages_run)]
    if not stages and is_question(question):
        lines += _describe_matches(question, earlier_messages, current_messages)
    return _finish(request, content="\n".join(lines), tool_calls=())


def _finish(request: ModelRequest, *, content: str, tool_calls: tuple[ToolCall, ...]) -> ModelReply:
    written_texts = [content, *(call.arguments for call in tool_calls)]
    usage = Usage(
        prompt_tokens=sum(len(_all_text(message).split()) for message in request.messages),
        completion_tokens=sum(len(text.split()) for text in written_texts),
    )
    return ModelReply(
        content=content,
        tool_calls=tool_calls,
        model=RECALL_MODEL,
        finish_reason="tool_calls" if tool_calls else "stop",
        usage=usage,
        cost=0.0,
    )


def _last_question_index(messages: Sequence[Mapping[str, Any]]) -> int:
    """The index of the message to answer, a user's or a system message that asks; behind the last if there is none."""
    indexes = (i for i in range(len(messages) - 1, -1, -1) if messages[i]["role"] == "user" or asks(messages, i))
    return next(indexes, len(messages))


def _build_calls(commands: Sequence[ToolCommand], request: ModelRequest) -> tuple[ToolCall, ...]:
    """Build the calls of one stage; ids differ as soon as anything in the request does."""
    digest = request_digest(request)
    runnable_commands = [order for order in commands if not order.complaint]
    return tuple(
        ToolCall(_call_id(digest, index), order.name, order.arguments) for index, order in enumerate(runnable_commands)
    )


def _call_id(digest: str, index: int) -> str:
    return "call_" + hashlib.sha256(f"{digest}:{index}".encode()).hexdigest()[:24]


def _uncallable_commands(stages: Sequence[Sequence[ToolCommand]], stages_run: int) -> list[ToolCommand]:
    """The commands that cannot be called, up to the stage at which the turn stops."""
    return [order for stage in stages[: stages_run + 1] for order in stage if order.complaint]


def _quote(current_messages: Sequence[Mapping[str, Any]]) -> str:
    if not current_messages:
        return "Nobody wrote anything yet."
    text = _text(current_messages[0])
    lines = [f'You wrote: "{_shorten(text, QUOTE_MAX_CHARS)}"' if text else "You wrote no text."]
    attachment_names = _attachment_names(current_messages[0])
    if attachment_names:
        lines.append(f"You attached: {', '.join(attachment_names)}.")
    return "\n".join(lines)


def _describe_result(result: Mapping[str, Any]) -> str:
    """Describe one tool's result in a line."""
    name, content = result.get("name") or "the tool", _text(result)
    try:
        value = json.loads(content)
    except ValueError:
        value = content
    if isinstance(value, dict) and isinstance(error := value.get("error"), dict):
        reason = f"{error.get('type')}: {error.get('message')}"
        return f"{name} failed: {_shorten(reason, RESULT_SHOWN_CHARS)}"
    text = value if isinstance(value, str) else content
    return f"{name} returned: {_shorten(text, RESULT_SHOWN_CHARS)}"


def _describe_matches(
    question: str, earlier_messages: Sequence[Mapping[str, Any]], current_messages: Sequence[Mapping[str, Any]]
) -> list[str]:
    matches = best_matches(question, _collect_sentences(earlier_messages, current_messages))
    if not matches:
        return ["I found nothing about that in this conversation."]
    return [f'From {match.origin}: "{match.text}"' for match in matches]


def _collect_sentences(
    earlier_messages: Sequence[Mapping[str, Any]], current_messages: Sequence[Mapping[str, Any]]
) -> list[Sentence]:
    """The sentences that may be quoted, in the conversation's order; system messages are not counted."""
    sentences: list[Sentence] = []
    spoken_messages = [message for message in (*earlier_messages, *current_messages) if message["role"] != "system"]
    question_number = sum(1 for message in earlier_messages if message["role"] != "system") + 1
    for number, message in enumerate(spoken_messages, start=1):
        if message["role"] == "user" and number != question_number:
            sentences += text_sentences(_text(message), origin=f"message {number}")
        if message["role"] == "tool":
            sentences += result_sentences(_text(message), origin=f"message {number}")
        for filename, text in _files(message):
            sentences += file_sentences(text, origin=f"attached {filename}")
    return sentences


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _text(message: Mapping[str, Any]) -> str:
    """The text of a message, without that of attached files."""
    own_parts = (part for part in _parts(message) if part["type"] == "text" and not read_text_part(part))
    return "\n".join(str(part["text"]) for part in own_parts)


def _all_text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part["text"]) for part in _parts(message) if part["type"] == "text")


def _files(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [file for part in _parts(message) if (file := read_text_part(part))]


def _attachment_names(message: Mapping[str, Any]) -> list[str]:
    images = sum(1 for part in _parts(message) if part["type"] == "image_url")
    names = [filename for filename, _text in _files(message)]
    return [*names, *([f"{images} image(s)"] if images else [])]


def _shorten(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"
