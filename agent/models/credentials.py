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

#: The providers that litellm asks through OpenAI's client.
OPENAI_CLIENT_PROVIDERS = frozenset({"openai", "azure", "custom_openai"})

#: What an unlocked door is told: clients demand some key, and servers without accounts take any.
NO_KEY = "none"

_ADDRESSES = ("api_base", "base_url")
#: What a provider may be asked with: with one of these, no key of the environment is looked for.
_KEYS = frozenset(
    {
        *("api_key", "azure_ad_token", "azure_ad_token_provider", "client_secret", "azure_password"),
        *("aws_secret_access_key", "aws_session_token", "aws_profile_name", "aws_role_name", "aws_web_identity_token"),
        *("vertex_credentials", "token", "watsonx_token", "zen_api_key", "oci_key", "oci_key_file"),
    }
)
#: Whatever else may be a key, by what it is called.
_SECRET = re.compile(
    r"(?:\w+_)?(?:key|key_id|key_file|token|token_provider|secret|password|passwd|credentials?|authorization|profile_name)",
    re.IGNORECASE,
)
#: A key of what was said before, and of nobody's account.
_NO_CREDENTIALS = ANSWER_PARAMETERS | {"prompt_cache_key"}
_ACCOUNT = re.compile(
    r"api_base|base_url|api_version|organization|project|region_name|tenant_id|client_id|custom_llm_provider"
    r"|(?:\w+_)?(?:headers|query)|(?:aws|azure|vertex|gcs|s3|oci|watsonx|databricks|snowflake|sap)_\w+",
    re.IGNORECASE,
)
#: By the parameter that names it: the header, and the variables out of which OpenAI's client takes it.
_ACCOUNT_VARIABLES = {
    "organization": ("OpenAI-Organization", "OPENAI_ORGANIZATION", "OPENAI_ORG_ID"),
    "project": ("OpenAI-Project", "OPENAI_PROJECT_ID"),
}
#: A signature is made for one address and is of no use elsewhere; only this bearer token would be.
_SIGNING_PROVIDERS = ("bedrock", "sagemaker")
_BEARER_OF_SIGNING_PROVIDERS = "AWS_BEARER_TOKEN_BEDROCK"


def is_credential(name: str) -> bool:
    """Whether a parameter says as whom or where to ask, by its name."""
    return name not in _NO_CREDENTIALS and bool(_SECRET.fullmatch(name) or _ACCOUNT.fullmatch(name))


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
    if any(parameters.get(name) for name in _KEYS) or not any(parameters.get(name) for name in _ADDRESSES):
        return dict(parameters)
    if provider.startswith(_SIGNING_PROVIDERS) and _BEARER_OF_SIGNING_PROVIDERS not in os.environ:
        return dict(parameters)
    if provider.startswith("vertex_ai"):
        problem = "parameters: an address without vertex_credentials would be sent the machine's own token"
        raise ModelError("refused", problem, retryable=False, is_ours=True)
    if provider.startswith("azure"):
        return {**parameters, "api_key": NO_KEY, "azure_ad_token_provider": _give_no_token}
    return {**parameters, "api_key": NO_KEY}


def withhold_environment_account(parameters: Mapping[str, Any], omitted: object) -> dict[str, Any]:
    """The parameters without the organization and project of the environment, where they name a key or an address.

    The client of OpenAI's format adds them to a key of whosever; `omitted` is its word for a header that is left out.
    """
    is_own = any(parameters.get(name) for name in ("api_key", *_ADDRESSES))
    headers = {
        header: omitted
        for parameter, (header, *variables) in _ACCOUNT_VARIABLES.items()
        if is_own and not parameters.get(parameter) and any(os.environ.get(name) for name in variables)
    }
    if not headers:
        return dict(parameters)
    return {**parameters, "extra_headers": {**headers, **(parameters.get("extra_headers") or {})}}


def _give_no_token() -> str:
    return NO_KEY
