"""The agent as a value: its name, purpose, model, tools and limits.

What stays true: an agent is a value. Nothing of a run is kept on it, so one agent serves every
tenant and thread at once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import structlog

from agent.agent_limits import check_limits
from agent.callable_agent import CallableAgent
from agent.mcp.server import McpServer, distinct_servers
from agent.model_factory import model_for, preload
from agent.models.capabilities import Capabilities
from agent.models.credentials import without_answer_parameters, without_credentials
from agent.models.profiles import PROFILES, ProviderProfile, find_api_base, profile_for
from agent.models.protocol import Model
from agent.models.tool_fitting import find_unfit_tools
from agent.summaries.prompt import PURPOSE
from agent.summaries.summarizer import ModelSummarizer
from agent.tools.client_tool import ClientTool
from agent.tools.tool import TOOL_NAME, Tool
from agent.tools.toolbox import Toolbox
from conversation.arguments import check_items
from conversation.errors import InvalidInput
from conversation.summary import SummaryDefaults
from conversation.validation import check_text
from conversation.water_marks import WaterMarks
from conversation.when_busy import WhenBusy, check_when_busy

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent(CallableAgent):
    """An agent that answers in threads, as producers name it and workers run it."""

    #: Producers ask for it by this name.
    name: str
    #: What it is for: the beginning of its system message.
    purpose: str = ""
    #: As litellm spells it, `openai/gpt-5`; `litellm/openai/gpt-5` asks through litellm. None takes `THREADMILL_MODEL`.
    model_name: str | None = None
    #: Python functions, sync or async, or tools made of them; and MCP servers, named by `mcp()`.
    tools: Sequence[Tool | McpServer | Callable[..., Any]] = ()
    temperature: float | None = None
    #: Tokens of one model call's answer, at most.
    max_tokens: int | None = None
    top_p: float | None = None
    stop: str | Sequence[str] | None = None
    #: Every further parameter of litellm's or the provider's: also the account, `api_key`, `api_base`.
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Models to ask, in this order, when the first one fails for good.
    fallbacks: Sequence[str] = ()
    #: Seconds until the first byte of a model's answer; of a whole answer (`streams=False`), until it is there.
    model_timeout_seconds: float = 120
    #: Seconds for which a model may be silent in mid-answer. One that goes on talking is cut by
    #: `max_turn_seconds` alone.
    model_silence_seconds: float = 60
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
    #: Attempts at a turn, whatever it fails of; None takes `THREADMILL_TURN_MAX_ATTEMPTS`, without which only
    #: `max_turn_retry_seconds` ends a turn for which something is away.
    max_turn_attempts: int | None = None
    #: How deep agents may call agents in a turn of this one, and how many such calls a turn may make; None takes
    #: `THREADMILL_AGENT_MAX_DEPTH` and `THREADMILL_AGENT_MAX_CHILDREN`.
    max_depth: int | None = None
    max_children: int | None = None
    #: Seconds for which a turn is retried while what it needs is away; None takes
    #: `THREADMILL_TURN_RETRY_MAX_SECONDS`, 0 retries none.
    max_turn_retry_seconds: float | None = None
    #: Messages without a summary with which a thread gets one; None takes
    #: `THREADMILL_SUMMARIZE_AFTER_MESSAGES`, 0 counts none.
    summarize_after_messages: int | None = None
    #: The same in tokens; None takes `THREADMILL_SUMMARIZE_AFTER_TOKENS`.
    summarize_after_tokens: int | None = None
    #: Messages that the newest turns may have together to stay as they are; None takes the setting.
    summarize_keep_messages: int | None = None
    #: The same in tokens; None takes the setting, 0 counts none.
    summarize_keep_tokens: int | None = None
    #: The model that writes summaries; None takes `THREADMILL_SUMMARY_MODEL`, else the agent's own. The
    #: agent's own is asked with the account of `parameters`, another one with that of the environment.
    summary_model: str | None = None
    #: Parameters for summaries alone, before those: the account of another model, `max_tokens`, …
    summary_parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Tokens that the model calls of one summary may use together; None means no limit.
    max_summary_tokens: int | None = None
    #: US dollars that the model calls of one summary may cost together, where their price is known.
    max_summary_cost: float | None = None
    #: What summaries are for, in place of the built-in words; their form is described beside it.
    summary_purpose: str | None = None
    #: Tools that the client runs: the turn waits for their results.
    client_tools: Sequence[ClientTool] = ()
    #: What becomes of a thread whose turn needs a decision: `block` has the turn wait, and all behind it; `go_on` ends
    #: the turn without it, and takes the call up in a turn of its own once it is decided.
    when_waiting: Literal["block", "go_on"] = "block"
    #: Seconds for which a decision is waited for; None takes `THREADMILL_WAIT_EXPIRE_SECONDS`.
    wait_expire_seconds: float | None = None
    #: Whether the model is asked if a summary is true, before it is used; None takes the setting.
    summary_check: bool | None = None
    #: Take replies in pieces, so that a cancelled turn keeps the text so far. A whole reply costs a worker
    #: less CPU, but is there whole or not at all.
    streams: bool = True
    #: The rules of the provider for a request, or their name in `docs/reference/providers.md`; None takes
    #: those that the model's name and its address tell.
    profile: ProviderProfile | str | None = None
    #: What becomes of a message to it whose thread has an unfinished turn, where the message and its thread say
    #: nothing; None takes `THREADMILL_WHEN_BUSY`.
    when_busy: WhenBusy | str | None = None
    #: Stands in for the model that `model_name` names: in tests, or for a provider of your own.
    model: Model | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not TOOL_NAME.fullmatch(self.name):
            raise InvalidInput("agent.name", f"is {self.name!r}", "use 1 to 64 letters, digits, _ and -")
        check_text("agent.purpose", self.purpose)
        check_limits(self)
        object.__setattr__(self, "when_busy", None if self.when_busy is None else _policy_of(self.when_busy))
        if isinstance(self.profile, str) and self.profile not in PROFILES:
            raise InvalidInput("agent.profile", f"is {self.profile!r}", f"use one of {', '.join(PROFILES)}")
        object.__setattr__(self, "mcp_servers", distinct_servers(self.tools))
        own_tools = [tool for tool in self.tools if not isinstance(tool, McpServer)]
        client_tools = [tool.as_tool() for tool in check_items("agent.client_tools", self.client_tools, ClientTool)]
        object.__setattr__(self, "toolbox", Toolbox([*own_tools, *client_tools]))
        self._check_tools()

    #: The agent's own tools, without those of its MCP servers: these are listed in a run.
    toolbox: Toolbox = field(init=False, repr=False)
    mcp_servers: tuple[McpServer, ...] = field(init=False, repr=False)

    def _check_tools(self) -> None:
        """Refuse tools that the agent's model cannot be told of; warn of those that a fallback cannot."""
        for model_name in (self.model_name, *self.fallbacks) if self.model is None else ():
            if not model_name:
                continue  # the setting's, which is not known yet
            is_first = model_name == self.model_name
            profile = self.find_profile(model_name) if is_first else profile_for(model_name)
            for tool, problem in find_unfit_tools(self.toolbox.declarations(), profile):
                if not is_first:
                    _log.warning(
                        "tool_unfit_for_fallback", agent=self.name, tool=tool, model=model_name, problem=problem
                    )
                    continue
                subject = f"agent.tools: {tool}" if tool else "agent.tools"
                raise InvalidInput(
                    subject, problem, f"{model_name} would refuse each request: change it, or pass profile="
                )

    def request_profile(self, model_name: str) -> ProviderProfile | None:
        """The profile of a request, where the agent says anything of its model."""
        return None if self.profile is None and self.capabilities is None else self.find_profile(model_name)

    def find_profile(self, model_name: str) -> ProviderProfile:
        """The profile of a model's provider, with what the agent says of the model."""
        profile = PROFILES[self.profile] if isinstance(self.profile, str) else self.profile
        profile = profile or profile_for(model_name, find_api_base(model_name, self.parameters))
        if self.capabilities is None:
            return profile
        return replace(profile, pictures=self.capabilities.images, sound=self.capabilities.audio)

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
        own_name = self.model_name or defaults.model
        name = self.summary_model or defaults.summary_model or own_name
        is_own = name == own_name
        return ModelSummarizer(
            model=self.model if is_own and self.model is not None else model_for(name),
            model_name=name,
            parameters={
                # What is said in a thread goes to its agent's account, or to none that the agent has.
                **(without_answer_parameters(self.parameters) if is_own else {}),
                **self.summary_parameters,
            },
            max_tokens=self.max_summary_tokens,
            max_cost=self.max_summary_cost,
            max_chars=defaults.max_chars,
            is_checked=defaults.is_checked if self.summary_check is None else self.summary_check,
            purpose=self.summary_purpose or PURPOSE,
            timeout_seconds=self.model_timeout_seconds,
            max_attempts=self.model_max_attempts,
        )

    @cached_property
    def version(self) -> str:
        """Twelve hex digits that change whenever what the model gets of the agent changes."""
        prompt_inputs = [
            self.name,
            self.purpose,
            self.model_name,
            without_credentials(self.request_parameters()),
            self.toolbox.declarations(),
            # Not what they offer, which is another thing tomorrow; each message's step names what was called.
            [server.name for server in self.mcp_servers],
        ]
        if self.subagents:
            prompt_inputs.append([agent.version for agent in self.subagents])
        return hashlib.sha256(json.dumps(prompt_inputs, sort_keys=True, default=repr).encode()).hexdigest()[:12]


def preload_models(agent: Agent, default_model_name: str) -> None:
    """Import what the models of an agent and of those that it calls need: see `preload`."""
    for each in (agent, *agent.subagents):
        if each.model is None:
            preload(
                each.model_name or default_model_name,
                fallbacks=each.fallbacks,
                parameters=each.request_parameters(),
                has_tools=bool(each.tools),
            )


def _policy_of(value: object) -> WhenBusy:
    return check_when_busy("agent.when_busy", value)
