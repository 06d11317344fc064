"""An answer, put together from its chunks: a streamed one from many, a whole one from its only one.

What stays true: streamed and whole answers go through here, so that one content has one outcome, however
it was cut. Sizes are bounded while they arrive.
"""

import json
from collections.abc import Collection
from typing import Any

from agent.models.provider_fields import FieldPieces
from agent.models.text_pieces import TEXT_MAX_CHARS, TextPieces
from agent.models.tool_call_pieces import ToolCallPieces
from conversation.message import ToolCall


class ReplyPieces:
    """The pieces of one answer. Chunks are those of the chat-completions format, as objects."""

    def __init__(self, tool_names: Collection[str] = ()) -> None:
        self._text = TextPieces()
        self._refusal = TextPieces()
        self._calls = ToolCallPieces(tool_names)
        #: What the provider sends beside the text and wants back.
        self.fields = FieldPieces()
        #: The provider's word for how it ended; None while it has sent none.
        self.finish_reason: str | None = None
        #: The word of the provider behind a proxy, or the one that the library replaced.
        self.native_finish_reason: str | None = None
        #: The chunk that carries the provider's count of tokens, if one came.
        self.usage_chunk: Any = None
        #: Whether anything of an answer came: then it is paid.
        self.has_content = False

    def add(self, chunk: Any) -> str:
        """Take one chunk. Returns the text that it adds, perhaps none."""
        if getattr(chunk, "usage", None) is not None:
            self.usage_chunk = chunk
        choices = getattr(chunk, "choices", None) or ()
        # Of several answers at once, the first is the answer.
        choice = next((each for each in choices if not getattr(each, "index", None)), None)
        if choice is None:
            return ""
        self.finish_reason = getattr(choice, "finish_reason", None) or self.finish_reason
        fields = getattr(choice, "provider_specific_fields", None) or {}
        native_finish_reason = getattr(choice, "native_finish_reason", None) or fields.get("native_finish_reason")
        self.native_finish_reason = native_finish_reason or self.native_finish_reason
        message = getattr(choice, "message", None)
        delta = getattr(choice, "delta", None)
        return self._add_delta(message or delta, is_whole=message is not None)

    def end(self) -> str:
        """End the answer. Returns the text that was held back, perhaps none."""
        self._refusal.end()
        return self._text.end()

    @property
    def content(self) -> str:
        return self._text.text

    @property
    def reasoning(self) -> str | None:
        return self._text.reasoning

    @property
    def refusal(self) -> str:
        """The refusal that came in place of an answer, where the provider tells the two apart."""
        return self._refusal.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self._calls.join_calls()

    @property
    def excess(self) -> str | None:
        """The excess, in words, where something is larger than any answer needs; None for most."""
        if self._text.chars + self._refusal.chars > TEXT_MAX_CHARS:
            return f"more than {TEXT_MAX_CHARS} characters"
        return self._calls.excess

    def _add_delta(self, delta: Any, *, is_whole: bool) -> str:
        reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        reasoning = _text_of(reasoning) or _thinking_of(getattr(delta, "content", None))
        self._text.add_reasoning(reasoning)
        self.fields.add(delta)
        fields = getattr(delta, "provider_specific_fields", None) or {}
        self._refusal.add(_text_of(getattr(delta, "refusal", None) or fields.get("refusal")))
        call_pieces = getattr(delta, "tool_calls", None) or ()
        for number, piece in enumerate(call_pieces):
            function = getattr(piece, "function", None)
            arguments = getattr(function, "arguments", None)
            self._calls.add(
                index=number if is_whole else getattr(piece, "index", None),
                call_id=_text_of(getattr(piece, "id", None)),
                name=_text_of(getattr(function, "name", None)),
                arguments=arguments if isinstance(arguments, str) or arguments is None else json.dumps(arguments),
            )
        text = _text_of(getattr(delta, "content", None))
        self.has_content = self.has_content or bool(text or reasoning or call_pieces)
        return self._text.add(text)


def _thinking_of(content: object) -> str:
    """The thinking among the parts of a content, as Mistral sends it."""
    parts = content if isinstance(content, list) else ()
    return "".join(_text_of(part.get("thinking")) for part in parts if isinstance(part, dict))


def _text_of(value: object) -> str:
    """The text of a field: some servers send a list of parts, or nothing."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else ()
    texts = (part.get("text") if isinstance(part, dict) else getattr(part, "text", None) for part in parts)
    return "".join(text for text in texts if isinstance(text, str))
