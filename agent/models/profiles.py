"""Profiles of providers: the rules of each family for a request, as data.

What stays true: a profile only says what a family of providers takes, and `agent.models.request_fitting` is
all that reads it. A rule that is not known to be lax is strict: what a strict server takes, a lax one takes too.
`docs/reference/providers.md` is made from this table.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

#: Begins the name of a model that shall be asked through litellm, whatever its provider.
LITELLM_PREFIX = "litellm/"

#: Ids of tool calls: what each provider takes, but for Mistral's.
CALL_ID = r"[A-Za-z0-9_-]{1,40}"
#: Mistral's, whose tokenizers take no other length.
CALL_ID_OF_NINE = r"[A-Za-z0-9]{9}"


def _rule(sentence: str, *, default: Any) -> Any:
    return field(default=default, metadata={"rule": sentence})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProfile:
    """The rules of one family of providers for a request."""

    #: Also the family that a reply's own fields belong to: they are sent back to no other.
    name: str
    system_first: bool = _rule("System texts stand in front alone, as one message", default=True)
    roles_alternate: bool = _rule("Neighbours of one role become one message", default=True)
    user_first: bool = _rule("A user speaks first", default=True)
    ends_with_question: bool = _rule("The last message is a user's or a tool's", default=True)
    reply_after_results: bool = _rule("An assistant speaks between a tool's result and a user", default=True)
    call_id: str = _rule("Ids of tool calls match", default=CALL_ID)
    refuses_empty: bool = _rule("No message and no text is empty", default=True)
    text_lists: bool = _rule("Content that is all text may be a list", default=False)
    speaker_names: bool = _rule("Users have a `name`", default=False)
    result_names: bool = _rule("Tool messages have a `name`", default=False)
    pictures: bool = _rule("Users send pictures", default=True)
    sound: bool = _rule("Users send sound", default=True)
    parses_results: bool = _rule("Results of tools are read as JSON", default=False)
    declares_history: bool = _rule("Tools of the history are declared", default=False)
    #: `json`: as they are; `inlined`: without `$ref`; `gemini`: with values and tuples in Gemini's words besides.
    schema: Literal["json", "inlined", "gemini"] = _rule("Schemas of tools", default="inlined")
    tool_name: str = _rule("Names of tools match", default=r"[A-Za-z0-9_-]{1,64}")
    parameter_name: str = _rule("Names of a tool's parameters match", default=r".+")
    max_tools: int | None = _rule("Tools, at most", default=None)
    max_description_chars: int | None = _rule("Characters of a tool's description, at most", default=None)
    returned_fields: tuple[str, ...] = _rule("Fields of a reply that are sent back", default=())
    demands_reasoning: bool = _rule("Each message with tool calls has `reasoning_content`", default=False)
    takes_thinking: bool = _rule("A fallback is sent the parameter `thinking`", default=False)
    checks_thinking: bool = _rule(
        "Thinking is sent back where it is switched on, and first in a tool loop", default=False
    )

    def allows(self, rule: Literal["call_id", "tool_name", "parameter_name"], text: str) -> bool:
        """Whether a name or an id matches the rule of the profile."""
        return _compile(getattr(self, rule)).fullmatch(text) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


_ALL = (
    ProviderProfile(
        name="openai",
        system_first=False,
        roles_alternate=False,
        user_first=False,
        reply_after_results=False,
        refuses_empty=False,
        text_lists=True,
        speaker_names=True,
        schema="json",
        max_tools=128,
        max_description_chars=1024,
    ),
    ProviderProfile(name="compatible"),
    ProviderProfile(
        name="anthropic",
        reply_after_results=False,
        text_lists=True,
        sound=False,
        declares_history=True,
        schema="json",
        parameter_name=r"[A-Za-z0-9_.-]{1,64}",
        returned_fields=("thinking_blocks",),
        takes_thinking=True,
        checks_thinking=True,
    ),
    ProviderProfile(
        name="gemini",
        text_lists=True,
        result_names=True,
        parses_results=True,
        schema="gemini",
        tool_name=r"[A-Za-z_][A-Za-z0-9_-]{0,63}",
        max_tools=512,
        returned_fields=("thought_signatures",),
        takes_thinking=True,
    ),
    ProviderProfile(name="mistral", call_id=CALL_ID_OF_NINE, result_names=True),
    ProviderProfile(
        name="bedrock",
        text_lists=True,
        sound=False,
        declares_history=True,
        tool_name=r"[A-Za-z][A-Za-z0-9_-]{0,63}",
        parameter_name=r"[A-Za-z0-9_.-]{1,64}",
        returned_fields=("thinking_blocks",),
        takes_thinking=True,
        checks_thinking=True,
    ),
    ProviderProfile(
        name="deepseek",
        reply_after_results=False,
        sound=False,
        max_tools=128,
        demands_reasoning=True,
        takes_thinking=True,
    ),
    ProviderProfile(name="openrouter", returned_fields=("reasoning_details",)),
)

#: Name → profile.
PROFILES: Mapping[str, ProviderProfile] = MappingProxyType({profile.name: profile for profile in _ALL})

#: Provider, as litellm's names of models begin → profile. Any other one is `compatible`.
PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "openai": "openai",
        "azure": "openai",
        "anthropic": "anthropic",
        "gemini": "gemini",
        "vertex_ai": "gemini",
        "vertex_ai_beta": "gemini",
        "mistral": "mistral",
        "codestral": "mistral",
        "bedrock": "bedrock",
        "bedrock_converse": "bedrock",
        "moonshot": "deepseek",
        "deepseek": "deepseek",
        "zai": "deepseek",
        "openrouter": "openrouter",
    }
)
#: What the name of a model holds → profile: where no provider is named, and where anyone's server serves it.
_MODELS = (
    (re.compile(r"(^|[^a-z])(mistral|mixtral|ministral|codestral|devstral|magistral|pixtral)"), "mistral"),
    (re.compile(r"deepseek|kimi"), "deepseek"),
)
_BARE_MODELS = (
    (re.compile(r"^claude"), "anthropic"),
    (re.compile(r"^gemini"), "gemini"),
    (re.compile(r"^(gpt-(?!oss)|chatgpt|o\d)"), "openai"),
)
#: Where OpenAI's own format is served by OpenAI's own rules.
_HOSTS_OF_OPENAI = ("openai.com", "openai.azure.com", "cognitiveservices.azure.com")


def plain_name(model_name: str) -> str:
    """The name of a model without the word that leads it to litellm, as in `litellm/openai/gpt-5`."""
    return model_name.removeprefix(LITELLM_PREFIX)


def profile_for(model_name: str, api_base: str | None = None) -> ProviderProfile:
    """The profile of a model as litellm spells it. At `api_base`, all but OpenAI's servers and models are strict."""
    provider, _, model = plain_name(model_name).lower().partition("/")
    if not model:
        provider, model = "", provider
    name = _profile_name(provider, model)
    is_own_model = _profile_name("", model) == "openai"
    if name == "openai" and api_base and not (is_own_model or _is_of_openai(api_base)):
        name = "compatible"
    if name in ("compatible", "openrouter"):
        name = next((family for pattern, family in _MODELS if pattern.search(model)), name)
    return PROFILES[name]


def find_api_base(model_name: str, parameters: Mapping[str, Any]) -> str | None:
    """The address of a model's server, where parameters or the environment name one."""
    api_base = parameters.get("api_base") or parameters.get("base_url")
    if not api_base and PROVIDERS.get(plain_name(model_name).partition("/")[0]) == "openai":
        api_base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    return str(api_base) if api_base else None


def _profile_name(provider: str, model: str) -> str:
    if provider in ("vertex_ai", "vertex_ai_beta", "azure_ai", "azure") and "claude" in model:
        return "anthropic"
    is_foreign_on_vertex = "gemini" not in model and ("/" in model or any(key.search(model) for key, _ in _MODELS))
    if provider in ("vertex_ai", "vertex_ai_beta") and is_foreign_on_vertex:
        return "compatible"
    if provider:
        return PROVIDERS.get(provider, "compatible")
    return next((family for pattern, family in _BARE_MODELS if pattern.search(model)), "compatible")


def host_of(address: str) -> str:
    """The host of an address; nothing where it is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_of_openai(api_base: str) -> bool:
    host = host_of(api_base)
    return any(host == known or host.endswith(f".{known}") for known in _HOSTS_OF_OPENAI)
