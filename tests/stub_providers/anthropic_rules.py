"""What Anthropic's `/v1/messages` refuses."""

import re
from typing import Any

from tests.stub_providers.answers import sign
from tests.stub_providers.rules import check_keys, check_schema, require

_BODY = {
    *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "temperature", "top_p"),
    *("top_k", "stop_sequences", "stream", "metadata"),
}
_BLOCKS = {
    "text": {"type", "text", "cache_control"},
    "image": {"type", "source", "cache_control"},
    "tool_use": {"type", "id", "name", "input", "cache_control"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
}
_THINKING = ("thinking", "redacted_thinking")


def check(body: dict[str, Any], dead_addresses: set[str]) -> None:
    """Refuse a request that Anthropic would refuse."""
    check_keys(body, _BODY, "body")
    require(isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
    for block in body.get("system", ()):
        require(block["text"].strip(), "system: text content blocks must be non-empty")
    thinks = body.get("thinking", {}).get("type") == "enabled"
    messages = body["messages"]
    loop_start = _loop_start(messages)
    require(messages and messages[0]["role"] == "user", "the first message must use the user role")
    require(messages[-1]["role"] == "user", "This model does not support assistant message prefill")
    for index, (earlier, message) in enumerate(zip([None, *messages], messages, strict=False)):
        check_keys(message, {"role", "content"}, "message")
        require(message["role"] in ("user", "assistant"), f"role {message['role']}")
        require(earlier is None or earlier["role"] != message["role"], "roles must alternate")
        require(message["content"], "all messages must have non-empty content")
        for block in message["content"]:
            # In the loop that is under way, a model may have thought without being asked to.
            _check_block(block, message["role"], thinks or index > loop_start, dead_addresses)
        _check_results(earlier, message)
    _check_thinking(messages, thinks)
    _check_tools(body, messages)


def _check_block(block: dict[str, Any], role: str, thinks: bool, dead_addresses: set[str]) -> None:
    kind = block.get("type")
    require(kind in _BLOCKS, f"a block of type {kind}")
    check_keys(block, _BLOCKS[str(kind)], f"{kind} block")
    require(role == "assistant" or kind not in ("tool_use", *_THINKING), f"{kind} of a user")
    require(role == "user" or kind not in ("tool_result", "image"), f"{kind} of an assistant")
    if kind == "text":
        require(block["text"].strip(), "text content blocks must contain non-whitespace text")
    elif kind == "tool_use":
        require(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]), "tool_use.id")
        require(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", block["name"]), "tool_use.name")
        require(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
    elif kind == "thinking":
        require(thinks, "When thinking is disabled, an assistant message cannot contain thinking")
        require(block["signature"] == sign(block["thinking"]), "Invalid `signature` in `thinking` block")
    elif kind == "redacted_thinking":
        require(thinks, "When thinking is disabled, an assistant message cannot contain redacted_thinking")
        require(len(block["data"]) > 100, "Invalid `data` in `redacted_thinking` block")
    elif kind == "image":
        url = block["source"].get("url")
        require(url not in dead_addresses, f"Unable to download the file at {url}")


def _check_results(earlier: dict[str, Any] | None, message: dict[str, Any]) -> None:
    """Refuse results that do not answer the calls of the message before, all of them, in front."""
    calls = [block["id"] for block in (earlier or {"content": ()})["content"] if block["type"] == "tool_use"]
    kinds = [block["type"] for block in message["content"]]
    results = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
    require(sorted(calls) == sorted(results), "`tool_use` ids were found without `tool_result` blocks, or the reverse")
    require(kinds[: len(results)] == ["tool_result"] * len(results), "tool_result blocks must come first")


def _check_thinking(messages: list[dict[str, Any]], thinks: bool) -> None:
    for message in messages:
        kinds = [block["type"] in _THINKING for block in message["content"]]
        require(kinds == sorted(kinds, reverse=True), "thinking must stand first")
    start = _loop_start(messages)
    if not thinks or start == len(messages) - 1:
        return
    first = messages[start + 1]["content"][0]["type"]
    require(first in _THINKING, f"Expected `thinking` or `redacted_thinking`, but found `{first}`")
    # What follows within the loop need not: a model that does not think between its calls answers so itself
    # (extended thinking with tool use, without interleaving, in Anthropic's documentation).


def _loop_start(messages: list[dict[str, Any]]) -> int:
    """The index of the message by which a user last spoke."""
    spoken = [n for n, m in enumerate(messages) if m["role"] == "user" and m["content"][-1]["type"] != "tool_result"]
    return max(spoken, default=0)


def _check_tools(body: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    ids = [block["id"] for m in messages for block in m["content"] if block["type"] == "tool_use"]
    require(len(set(ids)) == len(ids), "`tool_use` ids must be unique")
    require(not ids or body.get("tools"), "tools: Field required")
    for tool in body.get("tools", ()):
        require(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]), "tools.name")
        require(tool["input_schema"].get("type") == "object", "tools.input_schema.type")
        for name in tool["input_schema"].get("properties", {}):
            require(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name), "tools.input_schema: Property keys")
        check_schema(tool["input_schema"])
