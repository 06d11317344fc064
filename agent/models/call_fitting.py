"""Tool calls and their results, fitted to a provider: ids, names, arguments and results.

What stays true: an id is unique in its request and is repeated by the result of its call alone; it depends on
what stands before it in the request alone, so that a longer request begins with the same bytes. Arguments
are one JSON object whose numbers and characters every JSON parser takes. What is stored does not change.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from agent.models.profiles import CALL_ID_OF_NINE, ProviderProfile
from conversation.storable_text import make_storable
from conversation.validation import NUMBER_MAX

#: Levels of arguments: parsers of providers end at about a hundred.
ARGUMENTS_MAX_DEPTH = 64

_INVALID_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_MAX_CHARS = 64
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def fit_calls(messages: Sequence[Mapping[str, Any]], profile: ProviderProfile) -> list[dict[str, Any]]:
    """Fit the tool calls and tool messages of a request; each result follows its calls, in their order."""
    fitted_messages: list[dict[str, Any]] = []
    used_ids: set[str] = set()
    #: Of the newest block: stored id → id in this request.
    new_ids: dict[str, str] = {}
    for message in messages:
        fitted_message = message if isinstance(message, dict) else dict(message)
        if message.get("tool_calls"):
            new_ids = {}
            for call in message["tool_calls"]:
                new_ids[call["id"]] = _choose_id(call["id"], used_ids, profile)
                used_ids.add(new_ids[call["id"]])
            fitted_calls = [_fit_call(call, new_ids[call["id"]], profile) for call in message["tool_calls"]]
            fitted_message = {**message, "tool_calls": fitted_calls}
        elif message["role"] == "tool":
            stored_id = str(message.get("tool_call_id"))
            fitted_message = {
                **message,
                "tool_call_id": new_ids.get(stored_id) or _choose_id(stored_id, used_ids, profile),
                "name": _fit_name(str(message.get("name") or ""), profile),
                "content": _fit_result(message.get("content"), profile),
            }
        fitted_messages.append(fitted_message)
    return fitted_messages


def fit_name(name: str) -> str:
    """A function name that most providers take: one that a model made up would fail every later request."""
    return _INVALID_IN_NAME.sub("_", name)[:_NAME_MAX_CHARS] or "unknown"


def fit_arguments(text: str) -> str:
    """Arguments as one JSON object: as the model wrote them where that can be sent, else mended or quoted."""
    try:
        value = json.loads(text.strip() or "{}")
        if isinstance(value, dict) and _depth_is_sound(value):
            return _mend(text.strip() or "{}", value)
    except (ValueError, RecursionError):
        pass
    return json.dumps({"invalid_arguments": text})


def _fit_call(call: Mapping[str, Any], call_id: str, profile: ProviderProfile) -> dict[str, Any]:
    function = call["function"]
    fitted_function = {"name": _fit_name(function["name"], profile), "arguments": fit_arguments(function["arguments"])}
    return {"id": call_id, "type": "function", "function": fitted_function}


def _fit_name(name: str, profile: ProviderProfile) -> str:
    fitted_name = fit_name(name)
    return fitted_name if profile.allows("tool_name", fitted_name) else fit_name(f"tool_{fitted_name}")


def _fit_result(content: Any, profile: ProviderProfile) -> Any:
    """A result whose JSON the provider, or the library before it, can parse and write again."""
    if not profile.parses_results or not isinstance(content, str) or content.strip()[:1] not in ("{", "["):
        return content
    try:
        value = json.loads(content)
        return _mend(content, value) if _depth_is_sound(value) else json.dumps(content)
    except ValueError:
        return content
    except RecursionError:
        return json.dumps(content)


def _choose_id(stored_id: str, used_ids: set[str], profile: ProviderProfile) -> str:
    """The stored id where the provider takes it and it is new here, else one made of it."""
    call_id, occurrence = stored_id, 0
    while call_id in used_ids or not profile.allows("call_id", call_id):
        call_id = _make_id(f"{stored_id}\n{occurrence}", profile)
        occurrence += 1
    return call_id


def _make_id(seed: str, profile: ProviderProfile) -> str:
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass"))
    if profile.call_id != CALL_ID_OF_NINE:
        return f"call_{digest.hexdigest()[:24]}"
    number, characters = int.from_bytes(digest.digest()), ""
    for _ in range(9):
        number, remainder = divmod(number, len(_DIGITS))
        characters += _DIGITS[remainder]
    return characters


def _mend(text: str, value: object) -> str:
    """The text itself, or its value written anew where a number or a character of it cannot be sent."""
    mended_value = _mend_value(value)
    return text if mended_value is value else json.dumps(mended_value, ensure_ascii=False)


def _mend_value(value: Any) -> Any:
    """The value itself where nothing of it has to change; numbers beyond JSON become their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and abs(value) > NUMBER_MAX:
        return str(value)
    if isinstance(value, str):
        mended_text = make_storable(value)
        return value if mended_text == value else mended_text
    if isinstance(value, list):
        items = [_mend_value(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        pairs = {_mend_value(key): _mend_value(item) for key, item in value.items()}
        is_same = all(key in pairs and pairs[key] is item for key, item in value.items())
        return value if is_same else pairs
    return value


def _depth_is_sound(value: object) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > ARGUMENTS_MAX_DEPTH:
            return False
        level = [item for part in level for item in _items(part)]
    return True


def _items(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
