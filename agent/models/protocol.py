"""The model, as the loop sees it: a Protocol of two verbs, and the values that cross it.

What stays true: an adapter raises `ModelError` and nothing else of the provider's; a reply is
whole, cut at the token limit and says so, or an error; tool calls come back in the order of their
index, however they were streamed.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.models.profiles import ProviderProfile
from conversation.errors import ModelError
from conversation.message import ToolCall, Usage
from conversation.step import CUT_AT_LIMIT


@dataclass(slots=True)
class Meter:
    """The meter of one request: what the attempts at it cost that came to no reply.

    An attempt that fails, is cancelled or runs out of time is paid, too, and no reply says so. The
    adapter counts them here as they end; the caller reads them, whatever became of its request.
    """

    #: Attempts that began; 0 of an adapter that does not count.
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None once a price was missing.
    cost: float | None = 0.0

    def add(self, usage: Usage, cost: float | None) -> None:
        """Count one attempt that came to no reply."""
        self.usage += usage
        self.cost = None if self.cost is None or cost is None else self.cost + cost


class ModelPermit(Protocol):
    """The permit to ask a model once; `agent.models.breaker` gives it."""

    @property
    def is_probe(self) -> bool:
        """Whether this attempt alone tells whether a model that is away is back."""
        ...

    async def report_success(self) -> None:
        """Tell that the model answered."""
        ...

    async def report_failure(self, error: ModelError) -> None:
        """Tell of an error, which is told of the breaker that is open now."""
        ...


class ModelPermits(Protocol):
    """Where permits to ask models come from: the circuit breakers of a process."""

    async def admit(self, model: str, parameters: Mapping[str, Any]) -> ModelPermit:
        """The permit for one attempt at a model. Raises `ModelError` where it is known to be away."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to a model, in the chat-completions format that providers share."""

    #: As litellm spells it: `openai/gpt-5`, `offline/recall`; `litellm/openai/gpt-5` asks through litellm.
    model: str
    #: Chat-completions messages: dicts with role, content and so on. Two keys are ours, and sent to nobody:
    #: `asks` on a system message that is to be answered, and an assistant's `provider_fields`.
    messages: Sequence[Mapping[str, Any]]
    #: Tool declarations: `{"type": "function", "function": {name, description, parameters}}`.
    tools: Sequence[Mapping[str, Any]] = ()
    #: Every further parameter of the provider: temperature, max_tokens, top_p, stop, api_base, …
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Models to ask in this order when `model` fails for good or its retries are used up.
    fallbacks: Sequence[str] = ()
    #: Seconds until the first byte of an answer; of a whole answer, until it is there.
    timeout_seconds: float = 120
    #: Seconds of silence in mid-answer; None takes the adapter's. One that goes on talking is not cut.
    silence_seconds: float | None = None
    #: Attempts at one model: the first and its retries.
    max_attempts: int = 4
    #: Counts what is spent on attempts that come to no reply.
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)
    #: The rules of the provider of `model`; None takes those that its name and its address tell.
    profile: ProviderProfile | None = None
    #: The circuit breakers of the process, which put off what asks a model that is away; None has none.
    breakers: ModelPermits | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """One answer: whole, or cut at its token limit."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    #: What the provider wants back with the conversation: see `agent.models.provider_fields`.
    provider_fields: dict[str, Any] | None = None
    #: The model that answered: a fallback, perhaps.
    model: str
    #: Why it stopped, in the provider's word: `stop`, `tool_calls`, `length`, …
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None where no price is known.
    cost: float | None = None

    @property
    def is_truncated(self) -> bool:
        """Whether it was cut at its token limit: its text is a beginning, its last tool call perhaps half."""
        return self.finish_reason == CUT_AT_LIMIT


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
