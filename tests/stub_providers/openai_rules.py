"""What servers of OpenAI's format refuse: OpenAI itself, strict servers with chat templates, Mistral, DeepSeek."""

import re
from dataclasses import dataclass
from typing import Any

from tests.stub_providers.answers import sign
from tests.stub_providers.rules import TOOL_NAME, check_arguments, check_keys, check_schema, require

_BODY = {
    *("model", "messages", "tools", "tool_choice", "temperature", "top_p", "stop", "stream", "stream_options"),
    *("max_tokens", "max_completion_tokens", "parallel_tool_calls", "reasoning_effort", "usage"),
}
_SPEAKER = re.compile(r"[^\s<|\\/>]{1,64}")
_PARTS = {"text": {"type", "text"}, "image_url": {"type", "image_url"}, "input_audio": {"type", "input_audio"}}


@dataclass(frozen=True, slots=True)
class Rules:
    """How one server differs from the others of the format."""

    family: str
    is_strict: bool = True
    call_id: str = r"[A-Za-z0-9_-]{1,40}"
    #: A template wants an assistant between a tool and a user.
    replies_after_results: bool = True
    system_first: bool = True


RULES = {
    "openai": Rules("openai", is_strict=False, call_id=r".{1,40}", replies_after_results=False, system_first=False),
    "compatible": Rules("compatible"),
    "mistral": Rules("mistral", call_id=r"[A-Za-z0-9]{9}"),
    "deepseek": Rules("deepseek", replies_after_results=False),
    "openrouter": Rules("openrouter"),
}


def check(body: dict[str, Any], family: str, dead_addresses: set[str]) -> None:
    """Refuse a chat-completions request that this server would refuse."""
    rules = RULES[family]
    check_keys(body, _BODY, "body")
    messages = body["messages"]
    require(messages, "no messages")
    for message in messages:
        _check_message(message, rules, dead_addresses)
    _check_pairs(messages, rules)
    if rules.is_strict:
        _check_order(messages, rules)
    _check_tools(body, rules)


def _check_message(message: dict[str, Any], rules: Rules, dead_addresses: set[str]) -> None:
    role = message.get("role")
    keys = {
        "system": {"role", "content", "name"},
        "user": {"role", "content", "name"},
        "assistant": {"role", "content", "name", "tool_calls"} | _own_keys(rules),
        "tool": {"role", "content", "tool_call_id"} | ({"name"} if rules.family == "mistral" else set()),
    }
    require(role in keys, f"role {role!r}")
    allowed = keys[str(role)] - ({"name"} if rules.is_strict and role != "tool" else set())
    check_keys(message, allowed, f"{role} message")
    require("name" not in message or _SPEAKER.fullmatch(message["name"]), "name of a speaker")
    _check_content(message, rules, dead_addresses)
    if role == "assistant":
        _check_assistant(message, rules)


def _own_keys(rules: Rules) -> set[str]:
    return {"deepseek": {"reasoning_content"}, "openrouter": {"reasoning_details"}}.get(rules.family, set())


def _check_content(message: dict[str, Any], rules: Rules, dead_addresses: set[str]) -> None:
    role, content = message["role"], message.get("content")
    if isinstance(content, list):
        require(content, "content is an empty list")
        require(
            not rules.is_strict or any(part["type"] != "text" for part in content), "content that is text is a list"
        )
        for part in content:
            require(part.get("type") in _PARTS, f"a part of type {part.get('type')}")
            check_keys(part, _PARTS[part["type"]], "part")
            require(part["type"] == "text" or role == "user", f"a {role} message with {part['type']}")
            require(part["type"] != "text" or not rules.is_strict or part["text"].strip(), "an empty text")
            require(part["type"] != "input_audio" or rules.family != "deepseek", "sound")
            url = part.get("image_url", {}).get("url", "")
            require(url not in dead_addresses, f"Error while downloading {url}")
    elif content is None:
        require(role == "assistant" and message.get("tool_calls"), f"{role} content is null")
    else:
        require(isinstance(content, str), "content is no text")
        require(content.strip() or not rules.is_strict, f"empty content of a {role} message")


def _check_assistant(message: dict[str, Any], rules: Rules) -> None:
    calls = message.get("tool_calls")
    require("tool_calls" not in message or calls, "tool_calls is empty")
    for call in calls or ():
        check_keys(call, {"id", "type", "function", "index"}, "tool call")
        check_keys(call["function"], {"name", "arguments"}, "function")
        require(re.fullmatch(rules.call_id, call["id"], re.DOTALL), f"Tool call id was {call['id']!r}")
        require(TOOL_NAME.fullmatch(call["function"]["name"]), "name of a function")
        check_arguments(call["function"]["arguments"])
    if rules.family == "deepseek":
        has_reasoning = bool(str(message.get("reasoning_content") or "").strip())
        require(has_reasoning or not calls, "thinking is enabled but reasoning_content is missing")
        require(calls or "reasoning_content" not in message, "reasoning_content is not taken here")
    for detail in message.get("reasoning_details", ()):
        require(detail["signature"] == sign(detail["text"]), "the signature of reasoning_details")


def _check_pairs(messages: list[dict[str, Any]], rules: Rules) -> None:
    owed: list[str] = []
    seen_ids: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            require(message["tool_call_id"] in owed, "a tool message without its call")
            owed.remove(message["tool_call_id"])
            continue
        require(not owed, "an assistant message with 'tool_calls' must be followed by tool messages")
        owed = [call["id"] for call in message.get("tool_calls") or ()]
        require(len(set(owed)) == len(owed), "two calls with one id")
        require(not rules.is_strict or not seen_ids & set(owed), "an id of an earlier call")
        seen_ids |= set(owed)
    require(not owed, "a call without its result")


def _check_order(messages: list[dict[str, Any]], rules: Rules) -> None:
    last = "system"
    for index, message in enumerate(messages):
        role = message["role"]
        require(role != "system" or index == 0 or not rules.system_first, "System message must be at the beginning")
        require(role != "assistant" or last != "system", "the first message must be a user's")
        require(
            role in ("tool", "system") or role != last,
            "Conversation roles must alternate user/assistant/user/assistant/...",
        )
        require(not (role == "user" and last == "tool" and rules.replies_after_results), "user after tool")
        last = last if role == "system" and index else role
    require(last in ("user", "tool"), f"Expected last role User or Tool but got {last}")


def _check_tools(body: dict[str, Any], rules: Rules) -> None:
    tools = body.get("tools") or ()
    require("tools" not in body or tools, "tools is empty")
    require(len(tools) <= 128 or rules.family not in ("openai", "deepseek"), "too many tools")
    names = [tool["function"]["name"] for tool in tools]
    require(len(set(names)) == len(names), "two tools of one name")
    for tool in tools:
        function = tool["function"]
        check_keys(function, {"name", "description", "parameters"}, "function")
        require(TOOL_NAME.fullmatch(function["name"]), "name of a tool")
        require(rules.family != "openai" or len(function.get("description", "")) <= 1024, "description too long")
        require(function["parameters"].get("type") == "object", "parameters of no object")
        check_schema(function["parameters"], refs=not rules.is_strict)
