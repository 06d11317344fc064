"""The providers that are asked straight: where they are, and where the environment names their addresses and keys.

What stays true: they are the providers of our profiles that speak OpenAI's format, and Anthropic; addresses and
variables are those that litellm takes, so that a process moves from one road to the other as it is.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from agent.models.model_list import provider_of
from agent.models.profiles import plain_name

Format = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A provider that is asked straight."""

    provider: str
    format: Format = "openai"
    #: Where it is, unless parameters or the environment say otherwise; None has no place of its own.
    address: str | None
    address_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...]
    #: The key of servers that ask for none.
    default_key: str | None = None
    #: What every address ends with.
    suffix: str = ""

    def find_address(self, parameters: Mapping[str, Any]) -> str | None:
        """The address to ask: that of the parameters, of the environment, or its own."""
        named_address = parameters.get("api_base") or parameters.get("base_url")
        address = named_address or _first_variable(self.address_variables) or self.address
        if not address:
            return None
        address = str(address).strip()
        return address if address.rstrip("/").endswith(self.suffix) else address.rstrip("/") + self.suffix

    def find_key(self, parameters: Mapping[str, Any]) -> str | None:
        """The key to ask with: that of the parameters or of the environment."""
        key = parameters.get("api_key") or _first_variable(self.key_variables) or self.default_key
        return str(key).strip() if key else None


_ALL = (
    Endpoint(
        provider="openai",
        address="https://api.openai.com/v1",
        address_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        key_variables=("OPENAI_API_KEY",),
    ),
    Endpoint(
        provider="hosted_vllm",
        address=None,
        address_variables=("HOSTED_VLLM_API_BASE",),
        key_variables=("HOSTED_VLLM_API_KEY",),
        default_key="none",
    ),
    Endpoint(
        provider="deepseek",
        address="https://api.deepseek.com/beta",
        address_variables=("DEEPSEEK_API_BASE",),
        key_variables=("DEEPSEEK_API_KEY",),
    ),
    Endpoint(
        provider="mistral",
        address="https://api.mistral.ai/v1",
        address_variables=("MISTRAL_AZURE_API_BASE",),
        key_variables=("MISTRAL_AZURE_API_KEY", "MISTRAL_API_KEY"),
        suffix="/v1",
    ),
    Endpoint(
        provider="moonshot",
        address="https://api.moonshot.ai/v1",
        address_variables=("MOONSHOT_API_BASE",),
        key_variables=("MOONSHOT_API_KEY",),
    ),
    Endpoint(
        provider="zai",
        address="https://api.z.ai/api/paas/v4",
        address_variables=("ZAI_API_BASE",),
        key_variables=("ZAI_API_KEY",),
    ),
    Endpoint(
        provider="openrouter",
        address="https://openrouter.ai/api/v1",
        address_variables=("OPENROUTER_API_BASE",),
        key_variables=("OPENROUTER_API_KEY", "OR_API_KEY"),
    ),
    Endpoint(
        provider="anthropic",
        format="anthropic",
        address="https://api.anthropic.com",
        address_variables=("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"),
        key_variables=("ANTHROPIC_API_KEY",),
    ),
)

#: Provider, as litellm's names of models begin → endpoint.
ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({endpoint.provider: endpoint for endpoint in _ALL})


def find_endpoint(model_name: str) -> Endpoint | None:
    """The endpoint of a model's provider; None of one that is not asked straight."""
    return ENDPOINTS.get(provider_of(model_name))


def model_at(endpoint: Endpoint, model_name: str) -> str:
    """The name by which the endpoint knows a model."""
    return plain_name(model_name).removeprefix(f"{endpoint.provider}/")


def _first_variable(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)
