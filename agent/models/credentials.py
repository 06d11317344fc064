"""The parameters that say as whom and where a model is asked, and those that say how it shall answer.

What stays true: a model of another provider is asked with nothing of the first one's but how it shall
answer, so that a parameter which nobody here has heard of is not told to a stranger; and an address that
an agent names is never sent a key out of the environment, which was given for another address.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from conversation.errors import ModelError

#: The parameters that say how to answer, in every provider's words as litellm translates them.
ANSWER_PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "n", "seed", "stop", "max_tokens", "max_completion_tokens"),
        *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"),
        *("response_format", "tool_choice", "parallel_tool_calls", "function_call", "functions"),
        *("reasoning_effort", "thinking", "verbosity", "modalities", "audio", "prediction", "web_search_options"),
        *("stream_options", "drop_params", "additional_drop_params", "allowed_openai_params"),
    }
)

#: What an unlocked door is told: clients demand some key, and servers without accounts take any.
NO_KEY = "none"

_ADDRESSES = ("api_base", "base_url")
#: Whatever a provider calls a key: `aws_secret_access_key`, `vertex_credentials`, `azure_ad_token_provider`.
_KEY = re.compile(
    r"(?:\w+_)?(?:key|key_id|token|token_provider|secret|password|passwd|credentials?|authorization|profile_name)",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(
    r"api_base|base_url|api_version|organization|project|region_name|tenant_id|client_id|custom_llm_provider"
    r"|(?:\w+_)?(?:headers|query)|(?:aws|azure|vertex|gcs|s3|oci|watsonx|databricks|snowflake|sap)_\w+",
    re.IGNORECASE,
)
#: A signature is made for one address and is of no use elsewhere; only this bearer token would be.
_SIGNING_PROVIDERS = ("bedrock", "sagemaker")
_BEARER_OF_SIGNING_PROVIDERS = "AWS_BEARER_TOKEN_BEDROCK"


def is_credential(name: str) -> bool:
    """Whether a parameter says as whom or where to ask, by its name."""
    return name not in ANSWER_PARAMETERS and bool(_KEY.fullmatch(name) or _ACCOUNT.fullmatch(name))


def without_credentials(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that say what is asked: they stay the same when a key is replaced."""
    return {name: value for name, value in parameters.items() if not is_credential(name)}


def without_answer_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that every question to the same model needs, whatever is asked: its account above all."""
    return {name: value for name, value in parameters.items() if name not in ANSWER_PARAMETERS}


def for_another_provider(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters for a model of a provider for which they were not written."""
    return {name: value for name, value in parameters.items() if name in ANSWER_PARAMETERS}


def withhold_environment_keys(parameters: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """The parameters with a key that opens nothing, where they name an address and no key.

    Without it, litellm takes the provider's key out of the environment and sends it to that address. Raises
    `ModelError` for a provider that takes no such key.
    """
    has_key = any(value and _KEY.fullmatch(name) for name, value in parameters.items())
    if has_key or not any(parameters.get(name) for name in _ADDRESSES):
        return dict(parameters)
    if provider.startswith(_SIGNING_PROVIDERS) and _BEARER_OF_SIGNING_PROVIDERS not in os.environ:
        return dict(parameters)
    if provider.startswith("vertex_ai"):
        problem = "parameters: an address without vertex_credentials would be sent the machine's own token"
        raise ModelError("refused", problem, retryable=False)
    if provider.startswith("azure"):
        return {**parameters, "api_key": NO_KEY, "azure_ad_token_provider": _give_no_token}
    return {**parameters, "api_key": NO_KEY}


def _give_no_token() -> str:
    return NO_KEY
