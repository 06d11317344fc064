"""The model, as the loop sees it: a Protocol of two verbs, and the values that cross it.

What stays true: an adapter raises `ModelError` and nothing else of the provider's; a reply is
whole or it is an error; tool calls come back in the order of their index, however they were
streamed.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from conversation.message import ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to a model, in the chat-completions format that providers share."""

    #: As in `litellm.completion(model=…)`: `openai/gpt-5`, `offline/recall`.
    model: str
    #: Chat-completions messages: dicts with role, content and so on.
    messages: Sequence[Mapping[str, Any]]
    #: Tool declarations: `{"type": "function", "function": {name, description, parameters}}`.
    tools: Sequence[Mapping[str, Any]] = ()
    #: Every further parameter of the provider: temperature, max_tokens, top_p, stop, api_base, …
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Models to ask in this order when `model` fails for good or its retries are used up.
    fallbacks: Sequence[str] = ()
    #: Seconds for one attempt at one model.
    timeout_seconds: float = 120
    #: Attempts at one model: the first and its retries.
    max_attempts: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """One whole answer."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    #: The model that answered: a fallback, perhaps.
    model: str
    #: Why it stopped, in the provider's word: `stop`, `tool_calls`, `length`, …
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None where no price is known.
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text. Pieces joined are the reply's `content`."""

    text: str


@dataclass(frozen=True, slots=True)
class StreamRestarted:
    """The attempt broke after text was sent: what came before this is void, a new attempt follows."""


class Model(Protocol):
    """A model that answers requests."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Answer whole. Raises `ModelError`."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        """Answer in pieces; the last item is the whole `ModelReply`. Raises `ModelError`."""
        ...


RECALL_MODEL = "offline/recall"
