"""Answers in the format of Anthropic's Messages API, as chunks of chat completions.

What stays true: thinking keeps its signature, block by block, as it came; what is counted is put together from all
events that count, the last word of each going before the ones before it.
"""

import json
from typing import Any

from agent.models.http.call import make_error
from agent.models.http.events import Event
from agent.models.json_object import JsonObject, as_list
from agent.models.provider_errors import AnsweredError
from agent.models.spending import count

#: The status that a kind of error would have had in front of an answer.
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
#: What is said of an answer that its price depends on.
_WORDS_OF_PRICES = ("service_tier", "speed", "inference_geo")


class AnthropicAnswer:
    """One answer in Anthropic's format."""

    def __init__(self) -> None:
        self.is_done = False
        self._usage = JsonObject()
        #: The blocks that call tools, by their place among all blocks.
        self._calls: set[Any] = set()

    def read_whole(self, answer: JsonObject) -> JsonObject:
        """The one chunk of a whole answer."""
        if answer.get("type") == "error" or answer.get("error"):
            raise _make_error(answer)
        blocks = [block for block in as_list(answer.get("content")) if isinstance(block, JsonObject)]
        message = JsonObject(
            content="".join(_text_of(block, "text") for block in blocks if block.get("type") == "text"),
            reasoning_content="".join(_text_of(block, "thinking") for block in blocks),
            thinking_blocks=[block for block in blocks if block.get("type") in ("thinking", "redacted_thinking")],
            tool_calls=[_make_call(block, None) for block in blocks if block.get("type") == "tool_use"],
        )
        choice = JsonObject(index=0, message=message, finish_reason=_word_of(answer.get("stop_reason")))
        has_content = isinstance(answer.get("content"), list)
        return JsonObject(choices=[choice] if has_content else [], **self._count(answer.get("usage")))

    def read_event(self, event: Event) -> JsonObject | None:
        """The chunk of an event; None where it says nothing."""
        data = event.data
        if not isinstance(data, JsonObject):
            if event.name == "error":
                raise make_error(data)
            return None
        match data.get("type"):
            case "error":
                raise _make_error(data)
            case "message_start":
                message = data.get("message")
                return JsonObject(**self._count(message.get("usage") if isinstance(message, JsonObject) else None))
            case "content_block_start":
                return self._start_block(data.get("index"), data.get("content_block"))
            case "content_block_delta":
                return self._add_delta(data.get("index"), data.get("delta"))
            case "message_delta":
                reason = data.delta.get("stop_reason") if isinstance(data.get("delta"), JsonObject) else None
                return JsonObject(**_make_chunk(JsonObject(), _word_of(reason)), **self._count(data.get("usage")))
            case "message_stop":
                self.is_done = True
        return None

    def _start_block(self, index: Any, block: Any) -> JsonObject | None:
        if not isinstance(block, JsonObject):
            return None
        match block.get("type"):
            case "text":
                return _make_chunk(JsonObject(content=_text_of(block, "text")))
            case "tool_use":
                self._calls.add(index)
                return _make_chunk(JsonObject(tool_calls=[_make_call(block, index)]))
            case "thinking" | "redacted_thinking":
                text = _text_of(block, "thinking")
                return _make_chunk(JsonObject(reasoning_content=text, thinking_blocks=[block]))
        return None

    def _add_delta(self, index: Any, delta: Any) -> JsonObject | None:
        if not isinstance(delta, JsonObject):
            return None
        match delta.get("type"):
            case "text_delta":
                return _make_chunk(JsonObject(content=_text_of(delta, "text")))
            case "input_json_delta" if index in self._calls:
                function = JsonObject(arguments=_text_of(delta, "partial_json"))
                return _make_chunk(JsonObject(tool_calls=[JsonObject(index=index, function=function)]))
            case "thinking_delta":
                text = _text_of(delta, "thinking")
                block = JsonObject(type="thinking", thinking=text)
                return _make_chunk(JsonObject(reasoning_content=text, thinking_blocks=[block]))
            case "signature_delta":
                block = JsonObject(type="thinking", thinking="", signature=_text_of(delta, "signature"))
                return _make_chunk(JsonObject(thinking_blocks=[block]))
        return None

    def _count(self, usage: Any) -> JsonObject:
        """The counts so far, in the words of chat completions; nothing where nothing was counted."""
        if not isinstance(usage, JsonObject):
            return JsonObject()
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        read, written = count(self._usage, "cache_read_input_tokens"), count(self._usage, "cache_creation_input_tokens")
        split = self._usage.get("cache_creation")
        details = JsonObject(
            cached_tokens=read,
            cache_creation_tokens=written,
            cache_creation_hour_tokens=min(count(split, "ephemeral_1h_input_tokens"), written),
        )
        counts = JsonObject(
            prompt_tokens=count(self._usage, "input_tokens") + read + written,
            completion_tokens=count(self._usage, "output_tokens"),
            prompt_tokens_details=details,
            **{name: self._usage[name] for name in _WORDS_OF_PRICES if name in self._usage},
        )
        return JsonObject(usage=counts)


def _make_error(answer: JsonObject) -> AnsweredError:
    error = make_error(answer)
    kind = error.body.get("type") if isinstance(error.body, JsonObject) else None
    error.status_code = _STATUS_OF_TYPE.get(str(kind), 500)
    return error


def _make_chunk(delta: JsonObject, finish_reason: str | None = None) -> JsonObject:
    return JsonObject(choices=[JsonObject(index=0, delta=delta, finish_reason=finish_reason)])


def _make_call(block: JsonObject, index: Any) -> JsonObject:
    """A call of a tool. Streamed, its arguments come in pieces, and stand empty at its beginning."""
    arguments = block.get("input")
    text = json.dumps(arguments) if arguments or index is None else ""
    function = JsonObject(name=_text_of(block, "name"), arguments=text)
    return JsonObject(index=index, id=_text_of(block, "id"), function=function)


def _text_of(block: JsonObject, name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""


def _word_of(value: Any) -> str | None:
    return value if isinstance(value, str) else None
