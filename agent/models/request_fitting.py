"""One request fitted to the provider that is asked: the step between the stored history and the wire.

What stays true: it is pure, and what is stored does not change; a message that fits is not copied. Equal messages
give equal bytes, and a longer request begins with the bytes of the shorter one wherever the provider lets it. A
request that is fitted is one that its provider takes: `docs/reference/providers.md` names the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.models.call_fitting import fit_calls
from agent.models.content_fitting import fit_content, join_content
from agent.models.profiles import ProviderProfile
from agent.models.protocol import ModelRequest
from agent.models.provider_fields import wire_fields
from agent.models.thinking import fit_thinking
from agent.models.tool_fitting import fit_tools

#: Stands before a system text that asks, where system texts stand in front alone.
INSTRUCTION = "Instruction from the application, not from the user:\n"
#: The user's words before an assistant who speaks first, and where nobody asks.
NO_USER = "[The assistant speaks first.]"
NO_QUESTION = "[Go on.]"
#: The assistant's words where a turn ended after its tools.
NO_REPLY = "[No reply was given.]"

#: Parameters that a request without tools must not have.
_OF_TOOLS = ("tool_choice", "parallel_tool_calls")

#: The keys that each role has in the format.
_KEYS = {
    "system": ("role", "content"),
    "user": ("role", "content", "name"),
    "assistant": ("role", "content", "name", "tool_calls"),
    "tool": ("role", "tool_call_id", "name", "content"),
}


def fit_request(request: ModelRequest, profile: ProviderProfile) -> ModelRequest:
    """Fit a request to the provider of `profile`: its messages, tools and parameters."""
    messages = _place_system_texts(fit_calls(request.messages, profile), profile)
    fitted_messages = [fitted for message in messages if (fitted := fit_content(message, profile)) is not None]
    arranged_messages = _arrange_roles(fitted_messages, profile)
    parameters, with_thinking = fit_thinking(request.parameters, arranged_messages, profile)
    tools = fit_tools(request.tools, arranged_messages, profile)
    if not tools:
        parameters = {name: value for name, value in parameters.items() if name not in _OF_TOOLS}
    return replace(
        request,
        messages=[
            _keep_keys(message, profile, with_thinking=index in with_thinking)
            for index, message in enumerate(arranged_messages)
        ],
        tools=tools,
        parameters=parameters,
        profile=profile,
    )


def is_question(messages: Sequence[Mapping[str, Any]], index: int) -> bool:
    """Whether a system message is what is asked: it was sent to be answered, or nothing else asks anything."""
    if messages[index]["role"] != "system":
        return False
    if messages[index].get("asks"):
        return True
    last_spoken_role = next((message["role"] for message in reversed(messages) if message["role"] != "system"), None)
    return 0 < index == len(messages) - 1 and last_spoken_role in (None, "assistant")


def _place_system_texts(messages: Sequence[dict[str, Any]], profile: ProviderProfile) -> list[dict[str, Any]]:
    if not profile.system_first:
        return list(messages)
    system_texts: list[str] = []
    remaining_messages: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if is_question(messages, index):
            remaining_messages.append({"role": "user", "content": f"{INSTRUCTION}{message['content']}"})
        elif message["role"] == "system":
            system_texts.append(message["content"])
        else:
            remaining_messages.append(message)
    text = "\n\n".join(text for text in system_texts if text.strip())
    return [{"role": "system", "content": text}, *remaining_messages] if text else remaining_messages


def _arrange_roles(messages: Sequence[dict[str, Any]], profile: ProviderProfile) -> list[dict[str, Any]]:
    """Arrange the messages so that each role stands where the provider expects it."""
    arranged_messages: list[dict[str, Any]] = []
    for message in messages:
        last_role = arranged_messages[-1]["role"] if arranged_messages else "system"
        role = message["role"]
        if profile.user_first and role == "assistant" and last_role == "system":
            arranged_messages.append({"role": "user", "content": NO_USER})
        if profile.reply_after_results and role == "user" and last_role == "tool":
            arranged_messages.append({"role": "assistant", "content": NO_REPLY})
        if profile.roles_alternate and role == last_role and role in ("user", "assistant"):
            arranged_messages[-1] = _merge(arranged_messages[-1], message)
        else:
            arranged_messages.append(message)
    if profile.ends_with_question and not _ends_with_question(arranged_messages, profile):
        arranged_messages.append({"role": "user", "content": NO_QUESTION})
    return arranged_messages


def _ends_with_question(messages: Sequence[dict[str, Any]], profile: ProviderProfile) -> bool:
    last_role = messages[-1]["role"] if messages else "assistant"
    return last_role in ("user", "tool") or (last_role == "system" and not profile.system_first)


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two messages of one role as one; two speakers have no common name."""
    merged_message = {**first, **second, "content": join_content(first.get("content"), second.get("content"))}
    if first.get("name") != second.get("name"):
        merged_message.pop("name", None)
    return merged_message


def _keep_keys(message: dict[str, Any], profile: ProviderProfile, *, with_thinking: bool) -> dict[str, Any]:
    """The keys that the format has, and the provider's own fields; the message itself where it has no other."""
    role = message["role"]
    kept_keys = {key: message[key] for key in _KEYS[role] if key in message and _has_name(profile, role, key)}
    if len(kept_keys) == len(message):
        kept_keys = message
    if role != "assistant":
        return kept_keys
    message_fields, call_fields = wire_fields(message, profile, with_thinking=with_thinking)
    calls = kept_keys.get("tool_calls") or ()
    if calls and len(calls) == len(call_fields):
        own_calls = [call | fields for call, fields in zip(calls, call_fields, strict=True)]
        kept_keys = {**kept_keys, "tool_calls": own_calls}
    return kept_keys | message_fields if message_fields else kept_keys


def _has_name(profile: ProviderProfile, role: str, key: str) -> bool:
    return key != "name" or (profile.result_names if role == "tool" else profile.speaker_names)
