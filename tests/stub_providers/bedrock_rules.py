"""What Bedrock's `converse` refuses."""

import re
from typing import Any

from tests.stub_providers.answers import sign
from tests.stub_providers.rules import check_keys, check_schema, require

_BODY = {
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
}
_BLOCKS = {"text", "image", "toolUse", "toolResult", "reasoningContent", "document"}


def check(body: dict[str, Any]) -> None:
    """Refuse a request that Bedrock would refuse."""
    check_keys(body, _BODY, "body")
    for block in body.get("system", ()):
        require(block["text"].strip(), "system: blank text")
    messages = body["messages"]
    thinks = (body.get("additionalModelRequestFields") or {}).get("thinking", {}).get("type") == "enabled"
    require(messages and messages[0]["role"] == "user", "A conversation must start with a user message")
    require(messages[-1]["role"] == "user", "The last turn in a conversation must be a user message")
    asks = [n for n, m in enumerate(messages) if m["role"] == "user" and "toolResult" not in m["content"][0]]
    loop_start = max(asks, default=0)
    for index, (earlier, message) in enumerate(zip([None, *messages], messages, strict=False)):
        require(earlier is None or earlier["role"] != message["role"], "roles must alternate")
        require(message["content"], "The content field is empty")
        for block in message["content"]:
            _check_block(block, message["role"], thinks or index > loop_start)
        _check_results(earlier, message)
    _check_thinking(messages, thinks)
    _check_tools(body, messages)


def _check_block(block: dict[str, Any], role: str, thinks: bool) -> None:
    check_keys(block, _BLOCKS, "block")
    require(len(block) == 1, "a block of two kinds")
    if "text" in block:
        require(block["text"].strip(), "The text field in the ContentBlock object is blank")
    if "toolUse" in block:
        use = block["toolUse"]
        require(role == "assistant", "toolUse of a user")
        require(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", use["toolUseId"]), "toolUseId")
        require(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", use["name"]), "toolUse.name")
        require(isinstance(use["input"], dict), "toolUse.input")
    if "reasoningContent" in block:
        require(thinks, "thinking is disabled")
        text = block["reasoningContent"].get("reasoningText")
        require(text is None or text["signature"] == sign(text["text"]), "Invalid signature in reasoningContent")


def _check_results(earlier: dict[str, Any] | None, message: dict[str, Any]) -> None:
    uses = [b["toolUse"]["toolUseId"] for b in (earlier or {"content": ()})["content"] if "toolUse" in b]
    results = [b["toolResult"]["toolUseId"] for b in message["content"] if "toolResult" in b]
    require(sorted(uses) == sorted(results), "Expected toolResult blocks for the toolUse blocks of the previous turn")
    require(
        not results or len(results) == len(message["content"]),
        "conversation blocks and tool result blocks cannot be provided in the same turn",
    )
    for block in message["content"]:
        for part in block.get("toolResult", {}).get("content", ()):
            require(part.get("text", "x").strip(), "blank text in a toolResult")


def _check_thinking(messages: list[dict[str, Any]], thinks: bool) -> None:
    if thinks and any("toolResult" in block for block in messages[-1]["content"]):
        first = messages[-2]["content"][0]
        require("reasoningContent" in first, "Expected `thinking`, but found `tool_use`")


def _check_tools(body: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    uses = [block["toolUse"]["toolUseId"] for m in messages for block in m["content"] if "toolUse" in block]
    require(len(set(uses)) == len(uses), "duplicate toolUseId")
    tools = (body.get("toolConfig") or {}).get("tools", ())
    require(not uses or tools, "The toolConfig field must be defined")
    for tool in tools:
        spec = tool["toolSpec"]
        require(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", spec["name"]), "toolSpec.name")
        require(spec.get("description", "x"), "toolSpec.description is empty")
        require(spec["inputSchema"]["json"].get("type") == "object", "inputSchema.type")
        for name in spec["inputSchema"]["json"].get("properties", {}):
            require(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", name), "inputSchema: Property keys")
        check_schema(spec["inputSchema"]["json"], refs=False)
