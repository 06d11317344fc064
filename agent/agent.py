"""The agent as a value: its name, purpose, model, tools and limits.

What stays true: an agent is a value. Nothing of a run is kept on it, so one agent serves every
tenant and thread at once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.model_factory import model_for
from agent.models.capabilities import Capabilities
from agent.models.protocol import Model
from agent.summaries.prompt import PURPOSE
from agent.summaries.summarizer import ModelSummarizer
from agent.tools.tool import TOOL_NAME, Tool
from agent.tools.toolbox import Toolbox
from conversation.errors import InvalidInput
from conversation.summary import SummaryDefaults
from conversation.validation import check_text
from conversation.water_marks import WaterMarks


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent:
    """An agent that answers in threads, as producers name it and workers run it."""

    #: Producers ask for it by this name.
    name: str
    #: What it is for: the beginning of its system message.
    purpose: str = ""
    #: As litellm spells it, `openai/gpt-5`; None takes the setting `THREADMILL_MODEL`.
    model_name: str | None = None
    #: Python functions, sync or async, or tools made of them.
    tools: Sequence[Tool | Callable[..., Any]] = ()
    temperature: float | None = None
    #: Tokens of one model call's answer, at most.
    max_tokens: int | None = None
    top_p: float | None = None
    stop: str | Sequence[str] | None = None
    #: Every further parameter of litellm's or the provider's.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: Models to ask, in this order, when the first one fails for good.
    fallbacks: Sequence[str] = ()
    #: Seconds for one attempt at one model call.
    model_timeout_seconds: float = 120
    #: Attempts at one model call before the turn is retried later.
    model_max_attempts: int = 4
    #: Messages of the history that the model sees, at most.
    max_messages: int = 200
    #: Tokens of the history that the model sees, at most, by its own tokenizer; None counts none.
    max_window_tokens: int | None = None
    #: Tokens of the files of one turn that the model sees, at most, about: the newest first. What tools
    #: bring in the turn has the same budget again.
    max_file_tokens: int = 20_000
    #: What the model takes beside text; None asks the model's adapter.
    capabilities: Capabilities | None = None
    #: Model calls of one turn, at most. The last one is asked without tools: it has to answer.
    max_steps: int = 25
    #: Tokens that the model calls of one turn may use together; None means no limit.
    max_turn_tokens: int | None = None
    #: Seconds that one attempt at a turn may take; a turn's own deadline may be sooner.
    max_turn_seconds: float = 600
    #: Attempts at a turn while what it needs is away; None takes `THREADMILL_TURN_MAX_ATTEMPTS`.
    max_turn_attempts: int | None = None
    #: Messages without a summary with which a thread gets one; None takes
    #: `THREADMILL_SUMMARIZE_AFTER_MESSAGES`, 0 counts none.
    summarize_after_messages: int | None = None
    #: The same in tokens; None takes `THREADMILL_SUMMARIZE_AFTER_TOKENS`.
    summarize_after_tokens: int | None = None
    #: Messages that the newest turns may have together to stay as they are; None takes the setting.
    summarize_keep_messages: int | None = None
    #: The same in tokens; None takes the setting, 0 counts none.
    summarize_keep_tokens: int | None = None
    #: The model that writes summaries; None takes `THREADMILL_SUMMARY_MODEL`, else the agent's own.
    summary_model: str | None = None
    #: What summaries are for, in place of the built-in words; their form is described beside it.
    summary_purpose: str | None = None
    #: Whether the model is asked if a summary is true, before it is used; None takes the setting.
    summary_check: bool | None = None
    #: Take replies in pieces, so that a cancelled turn keeps the text so far. A whole reply costs a worker
    #: less CPU, but is there whole or not at all.
    streams: bool = True
    #: Stands in for the model that `model_name` names: in tests, or for a provider of your own.
    model: Model | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not TOOL_NAME.fullmatch(self.name):
            raise InvalidInput("agent.name", f"is {self.name!r}", "use 1 to 64 letters, digits, _ and -")
        check_text("agent.purpose", self.purpose)
        for limit in ("max_messages", "max_steps", "max_turn_seconds", "model_timeout_seconds"):
            if getattr(self, limit) <= 0:
                raise InvalidInput(f"agent.{limit}", f"is {getattr(self, limit)}", "pass a number above 0")
        if self.max_file_tokens < 0:
            raise InvalidInput("agent.max_file_tokens", f"is {self.max_file_tokens}", "pass 0 or more")
        if self.max_turn_attempts is not None and self.max_turn_attempts < 1:
            raise InvalidInput("agent.max_turn_attempts", f"is {self.max_turn_attempts}", "pass at least 1, or None")
        object.__setattr__(self, "toolbox", Toolbox(self.tools))

    toolbox: Toolbox = field(init=False, repr=False)

    def request_parameters(self) -> dict[str, Any]:
        """The parameters that go to the provider beside messages and tools."""
        common_parameters = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "top_p": self.top_p,
            "stop": self.stop,
        }
        return {key: value for key, value in common_parameters.items() if value is not None} | dict(self.parameters)

    def water_marks(self, defaults: SummaryDefaults) -> WaterMarks:
        """The water marks at which the agent's threads are summarized, and down to which they are.

        Raises `InvalidInput` for a low mark that is not below its high one.
        """
        own_marks = {
            "high_messages": self.summarize_after_messages,
            "high_tokens": self.summarize_after_tokens,
            "low_messages": self.summarize_keep_messages,
            "low_tokens": self.summarize_keep_tokens,
        }
        return replace(defaults.marks, **{name: mark for name, mark in own_marks.items() if mark is not None})

    def summarizer(self, defaults: SummaryDefaults) -> ModelSummarizer:
        """The summarizer of the agent's threads."""
        summary_model_name = self.summary_model or defaults.summary_model
        name = summary_model_name or self.model_name or defaults.model
        return ModelSummarizer(
            model=model_for(name) if summary_model_name or self.model is None else self.model,
            model_name=name,
            max_chars=defaults.max_chars,
            is_checked=defaults.is_checked if self.summary_check is None else self.summary_check,
            purpose=self.summary_purpose or PURPOSE,
            timeout_seconds=self.model_timeout_seconds,
            max_attempts=self.model_max_attempts,
        )

    @property
    def version(self) -> str:
        """Twelve hex digits that change whenever what the model gets of the agent changes."""
        prompt_inputs = [
            self.name,
            self.purpose,
            self.model_name,
            self.request_parameters(),
            self.toolbox.declarations(),
        ]
        return hashlib.sha256(json.dumps(prompt_inputs, sort_keys=True, default=repr).encode()).hexdigest()[:12]
