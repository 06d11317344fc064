"""The requests that only litellm knows how to ask: what it translates, and what it takes for itself.

What stays true: a test compares the names here with litellm's own list, so that none of its words is ever sent to a
provider as a parameter; where a word is in doubt, litellm is asked.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from agent.models.http.endpoints import Endpoint, model_at
from agent.models.model_list import entry_of
from agent.models.profiles import host_of

#: Parameters of litellm's that are read here, too, or sent as they are.
SHARED = frozenset({"api_base", "api_key", "metadata", "max_retries", "num_retries", "fallbacks"})
#: Words that litellm takes for itself, by what they hold: prices, accounts of tools beside it, its own switches.
_LITELLM_WORDS = re.compile(
    r"_.*|.*(?:litellm|cost|price|pricing|multiplier|router|budget|prompt_|_prompt|guardrail|timeout|keepalive|affinity).*"
    r"|(?:arize|dd|gcs|hf|humanloop|langfuse|langsmith|newrelic|posthog|signoz|wandb|weave|s3|aws|azure|vertex|anthropic"
    r"|openai|model|retry|caching|cache|preset|routing|custom|configurable|default|provider|use|stream|supports|allow"
    r"|allowed|disable|enable|turn|log|mock|fireworks|client|merge|max|batch|bedrock|region|tenant|tag)_\w+"
)
_LITELLM_NAMES = frozenset(
    {
        *("acompletion", "aembedding", "aimg_generation", "allm_passthrough_route", "api_version", "async_call"),
        *(
            "atext_completion",
            "attempted_targets",
            "additional_drop_params",
            "azure",
            "base_model",
            "bos_token",
            "cache",
        ),
        *("caching", "client", "complete_response", "completion_call_id", "context_window_fallback_dict"),
        *("cooldown_time", "data_residency", "deployment_id", "drop_params", "ensure_alternating_roles", "eos_token"),
        *("fallback_depth", "fastest_response", "force_timeout", "functions", "function_call", "headers", "id"),
        *("assistant_continue_message", "itpm", "logger_fn", "no-log", "order", "otpm", "output_vector_size"),
        *("proxy_server_request", "roles", "rpm", "rust", "search_tool_name", "secret_fields", "self"),
        *("shared_session", "silent_model", "ssl_verify", "tags", "text_completion", "tiered_pricing", "tpm", "ttl"),
        *("user_continue_message", "verbose", "weight", "web_search_options", "extra_query"),
    }
)
#: What the pattern takes for litellm's, and providers know.
_OF_PROVIDERS = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "stream_options", "prompt_cache_key", "prompt_cache_retention"),
        *("provider_options", "enable_thinking", "allowed_token_ids", "prompt_logprobs", "truncate_prompt_tokens"),
        *("use_beam_search", "add_generation_prompt", "safe_prompt"),
    }
)

#: Of Anthropic's, what is written here in its format.
_OF_ANTHROPIC = frozenset(
    {
        *("api_key", "api_base", "base_url", "extra_headers", "max_tokens", "max_completion_tokens", "temperature"),
        *("top_p", "top_k", "stop", "thinking", "tool_choice", "parallel_tool_calls", "user", "metadata"),
    }
)
#: Provider → parameters that litellm puts into its words.
_TRANSLATED = {
    "mistral": frozenset({"reasoning_effort", "thinking"}),
    "moonshot": frozenset({"reasoning_effort"}),
    "hosted_vllm": frozenset({"thinking"}),
}
_GPT_VERSION = re.compile(r"^gpt-(\d+)(?:\.(\d+))?(?=[.-]|$)")
#: From here on OpenAI's chat completions refuse tools of a model that reasons.
_FIRST_WITHOUT_TOOLS = (5, 4)


def is_translated(endpoint: Endpoint, model_name: str, parameters: Mapping[str, Any], *, has_tools: bool) -> bool:
    """Whether litellm does more with a request to this endpoint than is done here."""
    model = model_at(endpoint, model_name)
    if any(is_word_of_litellm(name) for name in parameters):
        return True
    if not isinstance(parameters.get("response_format", {}), Mapping):
        return True  # a class, of which litellm makes a schema
    if endpoint.format == "anthropic":
        is_known = parameters.keys() <= _OF_ANTHROPIC and not _is_identity(parameters)
        return not is_known or _is_thinking_translated(model, parameters)
    if endpoint.provider == "openai":
        return _is_asked_for_responses(endpoint, model, parameters, has_tools=has_tools)
    is_forced = endpoint.provider == "moonshot" and parameters.get("tool_choice") == "required"
    return is_forced or not _TRANSLATED.get(endpoint.provider, frozenset()).isdisjoint(parameters)


def is_word_of_litellm(name: str) -> bool:
    """Whether litellm takes a parameter of this name for itself."""
    if name in SHARED or name in _OF_PROVIDERS:
        return False
    return name in _LITELLM_NAMES or _LITELLM_WORDS.fullmatch(name) is not None


def _is_asked_for_responses(endpoint: Endpoint, model: str, parameters: Mapping[str, Any], *, has_tools: bool) -> bool:
    """Whether OpenAI answers only in its format of responses, into which litellm translates."""
    effort = parameters.get("reasoning_effort")
    if model.startswith("responses/") or entry_of("openai", model).get("mode") in ("responses", "completion"):
        return True
    if isinstance(effort, Mapping):
        return True
    version = _GPT_VERSION.match(model)
    if version is None or not has_tools or (int(version[1]), int(version[2] or 0)) < _FIRST_WITHOUT_TOOLS:
        return False
    host = host_of(endpoint.find_address(parameters) or "")
    return effort != "none" if effort is not None else host == "api.openai.com" or host.endswith(".api.openai.com")


def _is_thinking_translated(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether litellm changes how a model is asked to think, into the words that this one knows."""
    entry, thinking = entry_of("anthropic", model), parameters.get("thinking")
    if thinking is None:
        return False
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    is_adaptive = bool(entry.get("supports_adaptive_thinking"))
    if not entry or kind not in ("enabled", "disabled", "adaptive"):
        return True
    if kind == "adaptive":
        return not is_adaptive
    return is_adaptive and not entry.get("supports_legacy_thinking") if kind == "enabled" else is_adaptive


def _is_identity(parameters: Mapping[str, Any]) -> bool:
    """Whether the account is a person's or a machine's identity, not a key."""
    if parameters.get("api_base") or parameters.get("base_url"):
        return False
    key = parameters.get("api_key") or os.environ.get("ANTHROPIC_API_KEY") or ""
    return str(key).startswith("sk-ant-oat") or not key
