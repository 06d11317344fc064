"""Requests in OpenAI's format of chat completions, as each provider that speaks it wants them.

What stays true: a request that was fitted is sent as it is; what differs here are words for parameters, which litellm
translates in the same way.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.models.http.endpoints import Endpoint
from agent.models.model_list import entry_of
from agent.models.profiles import host_of
from agent.models.protocol import ModelRequest

#: Parameters that are no part of the body: the account.
ACCOUNT = frozenset({"api_key", "api_base", "base_url", "organization", "project", "extra_headers", "extra_body"})
#: Where cache marks are understood, beside `openai/` at another address: what a model's name holds.
_CACHING_MODELS = ("claude", "gemini", "minimax", "glm", "z-ai")

_ACCOUNT_HEADERS = {
    "organization": ("OpenAI-Organization", ("OPENAI_ORGANIZATION", "OPENAI_ORG_ID")),
    "project": ("OpenAI-Project", ("OPENAI_PROJECT_ID",)),
}


def build_body(endpoint: Endpoint, model: str, request: ModelRequest, *, is_streamed: bool) -> dict[str, Any]:
    """The body of a request for a model, by the endpoint's name for it."""
    parameters = {name: value for name, value in request.parameters.items() if name not in ACCOUNT}
    options = parameters.pop("stream_options", None) or {}
    body: dict[str, Any] = {"model": model, "messages": [*request.messages]}
    body |= {name: value for name, value in _translate(endpoint, model, parameters).items() if value is not None}
    if request.tools:
        body["tools"] = [*request.tools]
    if is_streamed:
        body["stream"] = True
    if is_streamed and endpoint.provider != "mistral":  # it counts unasked, and takes no such parameter
        body["stream_options"] = {**options, "include_usage": True}
    body |= request.parameters.get("extra_body") or {}
    return _fit_contents(endpoint, model, request.parameters, body)


def list_headers(endpoint: Endpoint, request: ModelRequest, key: str) -> Iterator[tuple[str, str]]:
    """The headers that say as whom to ask. Those of the environment go with its key alone."""
    yield "Authorization", f"Bearer {key}"
    parameters = request.parameters
    is_own = any(parameters.get(name) for name in ("api_key", "api_base", "base_url"))
    if endpoint.provider == "openai":
        for parameter, (header, variables) in _ACCOUNT_HEADERS.items():
            named_values = [os.environ.get(name) for name in variables if not is_own]
            value = parameters.get(parameter) or next((value for value in named_values if value), None)
            if value:
                yield header, str(value)
    if endpoint.provider == "openrouter":
        for header, variable in (("HTTP-Referer", "OR_SITE_URL"), ("X-Title", "OR_APP_NAME")):
            if value := os.environ.get(variable):
                yield header, value


def _translate(endpoint: Endpoint, model: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters in the endpoint's words."""
    translate = _TRANSLATIONS.get(endpoint.provider)
    return parameters if translate is None else translate(model, parameters)


def _translate_for_openai(model: str, parameters: dict[str, Any]) -> dict[str, Any]:
    name = model.rpartition("/")[2]
    is_gpt = any(series in model for series in ("gpt-5", "gpt-6")) and "gpt-5-chat" not in name
    is_renamed = is_gpt or _is_of_o_series(model)
    return _rename(parameters, "max_tokens", "max_completion_tokens") if is_renamed else parameters


def _translate_for_deepseek(_model: str, parameters: dict[str, Any]) -> dict[str, Any]:
    remaining_parameters = dict(parameters)
    thinking = remaining_parameters.pop("thinking", None)
    effort = remaining_parameters.pop("reasoning_effort", None)
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind not in ("enabled", "disabled"):
        kind = None if effort is None else "disabled" if effort == "none" else "enabled"
    return remaining_parameters | ({"thinking": {"type": kind}} if kind else {})


def _translate_for_mistral(_model: str, parameters: dict[str, Any]) -> dict[str, Any]:
    # It refuses whatever it does not know.
    known_parameters = {name: value for name, value in parameters.items() if name not in ("user", "metadata")}
    renamed_parameters = _rename(known_parameters, "max_completion_tokens", "max_tokens")
    choice = renamed_parameters.pop("tool_choice", None)
    if isinstance(choice, str):
        renamed_parameters["tool_choice"] = choice if choice in ("auto", "none") else "any"
    return _rename(renamed_parameters, "seed", "random_seed")


def _translate_for_moonshot(model: str, parameters: dict[str, Any]) -> dict[str, Any]:
    renamed_parameters = _rename(parameters, "max_completion_tokens", "max_tokens")
    temperature = renamed_parameters.pop("temperature", None)
    if temperature is None or entry_of("moonshot", model).get("supports_reasoning"):
        return renamed_parameters  # models that reason take no other than their own
    lowest = 0.3 if (renamed_parameters.get("n") or 1) > 1 else 0
    return renamed_parameters | {"temperature": min(max(temperature, lowest), 1)}


def _translate_for_openrouter(_model: str, parameters: dict[str, Any]) -> dict[str, Any]:
    translated_parameters = {"usage": {"include": True}, **parameters}
    if parameters.get("reasoning_effort") == "max":
        translated_parameters["reasoning_effort"] = "xhigh"
    return translated_parameters


_TRANSLATIONS: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "openai": _translate_for_openai,
    "deepseek": _translate_for_deepseek,
    "mistral": _translate_for_mistral,
    "moonshot": _translate_for_moonshot,
    "openrouter": _translate_for_openrouter,
}


def _is_of_o_series(model: str) -> bool:
    name = model.rpartition("/")[2]
    return name[:1] == "o" and name[1:2].isdigit() and bool(entry_of("openai", name))


def _rename(parameters: dict[str, Any], name: str, new_name: str) -> dict[str, Any]:
    """The parameters with one under another name, which goes before what had that one already."""
    renamed_parameters = dict(parameters)
    value = renamed_parameters.pop(name, None)
    return renamed_parameters if value is None else renamed_parameters | {new_name: value}


def _fit_contents(
    endpoint: Endpoint, model: str, parameters: Mapping[str, Any], body: dict[str, Any]
) -> dict[str, Any]:
    """The body with messages and schemas as the endpoint and its model take them."""
    messages: list[Mapping[str, Any]] = body["messages"]
    entry = entry_of(endpoint.provider, model.rpartition("/")[2])
    if not _knows_cache_marks(endpoint, model, parameters):
        messages = [_without_cache_marks(message) for message in messages]
    match endpoint.provider:
        case "openai" if _is_of_o_series(model) and not entry.get("supports_system_messages"):
            messages = [{**message, "role": "user"} if message["role"] == "system" else message for message in messages]
        case "deepseek":
            thinks = bool((body.get("thinking") or {}).get("type") == "enabled" and entry.get("supports_reasoning"))
            sees = bool(entry.get("supports_vision"))
            messages = [_fit_to_deepseek(message, sees=sees, thinks=thinks) for message in messages]
        case "mistral":
            messages = [{key: value for key, value in message.items() if value is not None} for message in messages]
        case "hosted_vllm" if "tools" in body:
            body = body | {"tools": _open_schemas(body["tools"])}
    return body | {"messages": messages}


def _knows_cache_marks(endpoint: Endpoint, model: str, parameters: Mapping[str, Any]) -> bool:
    match endpoint.provider:
        case "openai":
            host = host_of(endpoint.find_address(parameters) or "")
            return host != "openai.com" and not host.endswith(".openai.com")
        case "openrouter":
            return any(name in model.lower() for name in _CACHING_MODELS)
    return endpoint.provider == "zai"


def _without_cache_marks(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return message
    parts = [{key: value for key, value in part.items() if key != "cache_control"} for part in content]
    return {**message, "content": parts}


def _fit_to_deepseek(message: Mapping[str, Any], *, sees: bool, thinks: bool) -> Mapping[str, Any]:
    """The message as text alone, unless its model sees; with some reasoning where the model is told to think."""
    content = message.get("content")
    text = "".join(part.get("text") or "" for part in content) if isinstance(content, list | tuple) else ""
    if text and not sees:
        message = {**message, "content": text}
    if thinks and message["role"] == "assistant" and not message.get("reasoning_content"):
        return {**message, "reasoning_content": " "}
    return message


def _open_schemas(value: Any) -> Any:
    """Schemas without the word that they are closed, at which guided decoding of some servers stumbles."""
    if isinstance(value, Mapping):
        is_closed = value.get("additionalProperties") is False
        return {
            key: _open_schemas(part) for key, part in value.items() if not (is_closed and key == "additionalProperties")
        }
    return [_open_schemas(part) for part in value] if isinstance(value, list | tuple) else value
