"""The name of a model and an account together: whom an outage of one concerns.

What stays true: no key is in it, nor can one be read out of it; two processes with the same environment and the
same parameters come to the same name.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from agent.models.credentials import is_credential
from agent.models.model_list import provider_of
from agent.models.profiles import plain_name

#: Hex digits of the hash: enough that two accounts of one installation never meet.
_DIGITS = 16
#: What the variables of a provider begin with, where that is not its name.
_PREFIXES = {"bedrock": ("AWS_",), "sagemaker": ("AWS_",), "vertex_ai": ("VERTEX", "GOOGLE_"), "gemini": ("G",)}


def account_key(model: str, parameters: Mapping[str, Any]) -> str:
    """The name of a model and its account: `openai/gpt-5:` and a hash of as whom and where it is asked."""
    own_values = {name: value for name, value in parameters.items() if is_credential(name)}
    words = json.dumps([own_values, _environment_digest(provider_of(model))], sort_keys=True, default=_name_of)
    return f"{plain_name(model)}:{_digest(words)}"


@cache
def _environment_digest(provider: str) -> str:
    """A digest of the variables that say as whom and where a provider is asked."""
    prefixes = _PREFIXES.get(provider, (f"{provider.upper()}_",))
    return _digest(json.dumps({name: os.environ[name] for name in os.environ if name.startswith(prefixes)}))


def _name_of(value: object) -> str:
    """A name for what no other process would write in the same way, as a function that gives a token."""
    return getattr(value, "__qualname__", type(value).__qualname__)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
