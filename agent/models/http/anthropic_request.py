"""Requests in the format of Anthropic's Messages API.

What stays true: a request that was fitted is said in Anthropic's words, with nothing added to it and nothing left out;
litellm says the same, which tests compare.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.models.http.endpoints import Endpoint
from agent.models.model_list import entry_of
from agent.models.protocol import ModelRequest
from agent.models.tool_fitting import inline_references

#: The version of the format.
VERSION = "2023-06-01"
#: Tokens of an answer where nobody says how many, and of one behind the budget for thinking.
ANSWER_TOKENS = 4096

#: The keys of a tool's schema, at its top.
_SCHEMA_KEYS = frozenset({"type", "properties", "additionalProperties", "required", "$defs", "strict"})
_DATA_URL = re.compile(r"data:([^;,]+)(?:;[^;,]+)*;base64,(.*)", re.DOTALL)
_INVALID_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_CHOICES = {"auto": "auto", "required": "any", "any": "any", "none": "none"}
#: What a user id that can be a person's own is taken for: an address of mail, or a number of a telephone.
_PERSONAL = re.compile(r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$|^\+?[\d\s().-]{7,}$")


def build_body(_endpoint: Endpoint, model: str, request: ModelRequest, *, is_streamed: bool) -> dict[str, Any]:
    """The body of a request for a model, by the endpoint's name for it."""
    system_blocks, messages = _split_system(request.messages)
    body: dict[str, Any] = {"model": model, "messages": _build_messages(messages)}
    if system_blocks:
        body["system"] = system_blocks
    body |= dict(_list_parameters(model, request.parameters))
    if request.tools:
        body["tools"] = [_build_tool(tool["function"]) for tool in request.tools]
    return body | ({"stream": True} if is_streamed else {})


def list_headers(_endpoint: Endpoint, _request: ModelRequest, key: str) -> Iterator[tuple[str, str]]:
    """The headers that say as whom to ask, and in which version of the format."""
    yield "x-api-key", key
    yield "anthropic-version", VERSION


def _list_parameters(model: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    thinking = parameters.get("thinking")
    yield "max_tokens", _find_max_tokens(model, parameters, thinking)
    for name in ("temperature", "top_p", "top_k"):
        if parameters.get(name) is not None:
            yield name, parameters[name]
    if thinking is not None:
        yield "thinking", thinking
    if stop := parameters.get("stop"):
        yield "stop_sequences", [stop] if isinstance(stop, str) else list(stop)
    choice = _choose_tool(parameters.get("tool_choice"), parameters.get("parallel_tool_calls"))
    if choice is not None:
        yield "tool_choice", choice
    metadata = parameters.get("metadata")
    user = (metadata.get("user_id") if isinstance(metadata, Mapping) else None) or parameters.get("user")
    if isinstance(user, str) and not _PERSONAL.match(user):
        yield "metadata", {"user_id": user}


def _find_max_tokens(model: str, parameters: Mapping[str, Any], thinking: Any) -> int:
    """The tokens of an answer, at most: the format demands a number."""
    named_tokens = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
    if named_tokens is not None:
        return int(max(1, round(named_tokens)))
    if isinstance(thinking, Mapping) and thinking.get("type") == "enabled" and "budget_tokens" in thinking:
        return int(thinking["budget_tokens"]) + ANSWER_TOKENS
    entry = entry_of("anthropic", model)
    known_tokens = entry.get("max_output_tokens") or entry.get("max_tokens")
    default = int(os.environ.get("DEFAULT_ANTHROPIC_CHAT_MAX_TOKENS", ANSWER_TOKENS))
    return known_tokens if isinstance(known_tokens, int) else default


def _choose_tool(choice: Any, is_parallel: Any) -> dict[str, Any] | None:
    """The choice of a tool, and whether several may be called at once."""
    chosen: dict[str, Any] | None = None
    if isinstance(choice, Mapping) and "function" in choice:
        chosen = {"type": "tool", "name": choice["function"].get("name")}
    elif kind := _CHOICES.get(str(choice.get("type") if isinstance(choice, Mapping) else choice)):
        chosen = {"type": kind}
    if is_parallel is None or (chosen or {}).get("type") == "none":
        return chosen
    return (chosen or {"type": "auto"}) | {"disable_parallel_tool_use": not is_parallel}


def _split_system(messages: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Sequence[Mapping[str, Any]]]:
    """The system texts in front, as blocks, and the messages behind them."""
    blocks: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message["role"] != "system":
            return blocks, messages[index:]
        blocks += _build_blocks(message.get("content"))
    return blocks, ()


def _build_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages in turns: results of tools and system texts that come later are a user's."""
    built_messages: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _BUILDERS.get(message["role"], _build_said)(message)
        if built_messages and built_messages[-1]["role"] == role:
            built_messages[-1]["content"] += blocks
        elif blocks:
            built_messages.append({"role": role, "content": blocks})
    return built_messages


def _build_said(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _build_blocks(message.get("content"))


def _build_result(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [
        {
            "type": "tool_result",
            "tool_use_id": _INVALID_IN_ID.sub("_", message["tool_call_id"]),
            "content": content if isinstance(content, str) else _build_blocks(content),
        }
    ]


def _build_assistant(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blocks of what an assistant thought, said and called, in this order."""
    calls = [
        {
            "type": "tool_use",
            "id": _INVALID_IN_ID.sub("_", call["id"]),
            "name": call["function"]["name"],
            "input": json.loads(call["function"]["arguments"] or "{}"),
        }
        for call in message.get("tool_calls") or ()
    ]
    return [*(message.get("thinking_blocks") or ()), *_build_blocks(message.get("content")), *calls]


_BUILDERS = {"tool": _build_result, "assistant": _build_assistant}


def _build_blocks(content: Any) -> list[dict[str, Any]]:
    """The blocks of a message's content; a kind that the format has no block for is left out."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    return [block for part in parts if (block := _build_block(part)) is not None]


def _build_block(part: Mapping[str, Any]) -> dict[str, Any] | None:
    marks = {"cache_control": part["cache_control"]} if part.get("cache_control") else {}
    match part.get("type"):
        case "text" if part.get("text"):
            return {"type": "text", "text": part["text"], **marks}
        case "image_url":
            return {"type": "image", "source": _build_source(str(part["image_url"]["url"])), **marks}
    return None


def _build_source(url: str) -> dict[str, Any]:
    match = _DATA_URL.fullmatch(url)
    if match is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": match[1], "data": match[2]}


def _build_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(function.get("parameters") or {})
    if "definitions" in schema:
        schema = inline_references(schema)
    kept_schema = {key: value for key, value in schema.items() if key in _SCHEMA_KEYS}
    tool = {
        "name": function["name"],
        "input_schema": {"type": "object", "properties": {}, **kept_schema},
        "type": "custom",
    }
    return tool | ({"description": function["description"]} if function.get("description") else {})
