"""Fields that a provider sends beside the text of a reply and wants back with the conversation.

What stays true: they are kept as they came, with the family that made them, and are sent to that family
alone: signatures of thinking are void elsewhere, and foreign keys refuse a request. A message's are
a JSON object:

    {"family": "anthropic", "thinking_blocks": […]}
    {"family": "gemini", "thought_signatures": […], "call_signatures": ["…", null]}
    {"family": "openrouter", "reasoning_details": […]}

`call_signatures` are those of the tool calls, in their order. `unreachable_pictures` are addresses that the
provider could not open, so that no later request names them; no provider is sent those.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.models.profiles import ProviderProfile
from agent.models.protocol import ModelReply
from conversation.message import PROVIDER_FIELDS_MAX_CHARS, ToolCall

#: litellm writes Gemini's signature of a call behind this, into the call's id.
_SIGNATURE_MARK = "__thought__"
#: What a message with tool calls thinks where it has to think and nothing is known.
_NO_REASONING = "."

#: Fields of a message that arrive in pieces, as lists.
_LISTS = ("thinking_blocks", "thought_signatures", "reasoning_details")


@dataclass(slots=True)
class FieldPieces:
    """The fields of one reply, put together from its chunks, or taken from a whole message."""

    _lists: dict[str, list[Any]] = field(default_factory=dict)
    _is_tapped: bool = False

    @classmethod
    def of(cls, message: Any) -> "FieldPieces":
        """The fields of a whole message."""
        pieces = cls()
        pieces.add(message)
        return pieces

    def add(self, message: Any) -> None:
        """Take a delta of a stream."""
        if not self._is_tapped:
            self._add(message)

    def tap(self, response: Any, profile: ProviderProfile | None) -> None:
        """Take the fields out of a stream before litellm does, which drops chunks that hold nothing else."""
        if profile is not None and "reasoning_details" in profile.returned_fields:
            self._is_tapped = True
            response.completion_stream = _Tap(response.completion_stream, self._add)

    def _add(self, message: Any) -> None:
        extra_fields = getattr(message, "provider_specific_fields", None) or {}
        for name in _LISTS:
            values = getattr(message, name, None) or extra_fields.get(name)
            for value in values if isinstance(values, list | tuple) else ():
                self._append(name, _to_plain(value))

    def finish(self, reply: ModelReply, profile: ProviderProfile | None) -> ModelReply:
        """The reply with its fields, and with ids of calls that are ids alone."""
        assert profile is not None, "a request is fitted before it is sent"
        ids = [call.id.partition(_SIGNATURE_MARK) for call in reply.tool_calls]
        fields: dict[str, Any] = {name: self._lists[name] for name in _LISTS if self._lists.get(name)}
        if any(signature for _, _, signature in ids):
            fields["call_signatures"] = [signature or None for _, _, signature in ids]
        kept_fields = {
            name: value
            for name, value in fields.items()
            if name == "call_signatures" or name in profile.returned_fields
        }
        calls = tuple(
            ToolCall(id_, call.name, call.arguments) for (id_, _, _), call in zip(ids, reply.tool_calls, strict=True)
        )
        if not kept_fields and not (calls and (profile.demands_reasoning or profile.checks_thinking)):
            return replace(reply, tool_calls=calls)
        return replace(reply, tool_calls=calls, provider_fields=_bound({"family": profile.name} | kept_fields))

    def _append(self, name: str, value: Any) -> None:
        values = self._lists.setdefault(name, [])
        if values and (joined_value := _join(values[-1], value)) is not None:
            values[-1] = joined_value
        else:
            values.append(value)


class _Tap:
    """A stream of chunks that are shown to `see` on their way; all else of it is as it was."""

    def __init__(self, stream: Any, see: Callable[[Any], None]) -> None:
        self._stream, self._see = aiter(stream), see

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> "_Tap":
        return self

    async def __anext__(self) -> Any:
        chunk = await anext(self._stream)
        for choice in getattr(chunk, "choices", None) or ():
            self._see(choice.delta)
        return chunk


def wire_fields(
    message: Mapping[str, Any], profile: ProviderProfile, *, with_thinking: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The keys that are sent of a message's fields: those of the message, and those of each of its tool calls."""
    fields = _own_fields(message, profile)
    message_keys: dict[str, Any] = {}
    for name in profile.returned_fields:
        if not fields.get(name) or (name == "thinking_blocks" and not with_thinking):
            continue
        # litellm takes Gemini's signatures from where it puts them.
        in_extra = name == "thought_signatures"
        message_keys |= {"provider_specific_fields": {name: fields[name]}} if in_extra else {name: fields[name]}
    calls = message.get("tool_calls") or ()
    if calls and profile.demands_reasoning:
        reasoning = str(fields.get("reasoning_content") or "")
        message_keys["reasoning_content"] = reasoning if reasoning.strip() else _NO_REASONING
    signatures = fields.get("call_signatures") or [None] * len(calls)
    call_keys = [
        {"provider_specific_fields": {"thought_signature": signature}} if signature else {} for signature in signatures
    ]
    return message_keys, call_keys


def has_thinking(message: Mapping[str, Any], profile: ProviderProfile) -> bool:
    """Whether the family of the profile thought before this message, and signed it."""
    return bool(_own_fields(message, profile).get("thinking_blocks"))


def is_of_family(message: Mapping[str, Any], profile: ProviderProfile) -> bool:
    """Whether the family of the profile wrote this message."""
    return bool(_own_fields(message, profile))


def _own_fields(message: Mapping[str, Any], profile: ProviderProfile) -> Mapping[str, Any]:
    fields = message.get("provider_fields")
    return fields if isinstance(fields, Mapping) and fields.get("family") == profile.name else {}


def _join(last: Any, piece: Any) -> Any:
    """The last block and a piece that goes on with it, as one; None where the piece begins another one."""
    if not (isinstance(last, dict) and isinstance(piece, dict)) or last.get("type") != piece.get("type"):
        return None
    if piece.get("type") == "thinking" and not last.get("signature"):
        text = (last.get("thinking") or "") + (piece.get("thinking") or "")
        return {**last, **{key: value for key, value in piece.items() if value}, "thinking": text}
    if last.get("index") is None or last.get("index") != piece.get("index"):
        return None
    texts = {
        key: (last.get(key) or "") + (piece.get(key) or "")
        for key in ("text", "summary", "data")
        if last.get(key) or piece.get(key)
    }
    return {**last, **{key: value for key, value in piece.items() if value is not None}, **texts}


def _to_plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else value


def _bound(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, or their family alone where they are no JSON, or more than a message may hold."""
    try:
        # As UTF-8 will carry it: half a character cannot be sent back.
        text = json.dumps(fields, allow_nan=False).encode("ascii")
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return {"family": fields["family"]}
    return fields if len(text) <= PROVIDER_FIELDS_MAX_CHARS else {"family": fields["family"]}


def unreachable_pictures(messages: Sequence[Any]) -> frozenset[str]:
    """The addresses, told by the fields of these messages, that a provider could not open."""
    return frozenset(
        str(address)
        for message in messages
        for address in (message.provider_fields or {}).get("unreachable_pictures", ())
    )
