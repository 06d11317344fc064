"""The list of models that litellm ships: what they cost and what they take, read without importing it.

What stays true: the list is read once a process, out of a file of the installed package, and asks no network.
"""

import asyncio
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent.models.capabilities import Capabilities
from agent.models.profiles import plain_name

_FILE_NAME = "model_prices_and_context_window_backup.json"


@cache
def load_model_list() -> Mapping[str, Any]:
    """Load the list: three megabytes, so call it off the event loop at first."""
    entries: dict[str, Any] = json.loads((find_litellm() / _FILE_NAME).read_bytes())
    return entries


async def prepare_model_list() -> None:
    """Load the list, off the event loop, where that has not been done."""
    if not load_model_list.cache_info().currsize:
        await asyncio.to_thread(load_model_list)


def find_litellm() -> Path:
    """The folder of litellm. Importing it takes seconds, and is not needed for that."""
    spec = find_spec("litellm")
    assert spec is not None, "a dependency"
    assert spec.submodule_search_locations, "a package"
    return Path(spec.submodule_search_locations[0])


def provider_of(model_name: str) -> str:
    """The provider of a model, as litellm spells it; of a bare name by the list, else nothing."""
    provider, has_prefix, _ = plain_name(model_name).partition("/")
    return provider if has_prefix else str(_entry(provider).get("litellm_provider", ""))


def entry_of(provider: str, model: str) -> Mapping[str, Any]:
    """The entry of a provider's model; an empty one where the list has none."""
    base = ":".join(model.split(":")[:2])  # `ft:gpt-4o:us::x` is a tuned `ft:gpt-4o`
    for name in (f"{provider}/{model}", model, base if model.startswith("ft:") else model):
        entry = _entry(name)
        if entry.get("litellm_provider") == provider:
            return entry
    return {}


@cache
def find_capabilities(model_name: str) -> Capabilities:
    """The capabilities of a model, by the list alone."""
    model_list = load_model_list()
    model_name = plain_name(model_name)
    provider = model_name.partition("/")[0] if model_name not in model_list else ""
    while model_name and model_name not in model_list:
        model_name = model_name.partition("/")[2]  # `openrouter/anthropic/…`: what is listed has fewer prefixes
    if not model_name:
        return Capabilities()
    info = model_list[model_name]
    # Of many models the list says neither; then it is not known.
    max_input_tokens = info.get("max_input_tokens")
    if provider not in ("", info.get("litellm_provider")):
        max_input_tokens = None  # another server of a model may take more of it, or less
    return Capabilities(
        images=info.get("supports_vision", True),
        audio=info.get("supports_audio_input", False),
        max_input_tokens=max_input_tokens if isinstance(max_input_tokens, int) and max_input_tokens > 0 else None,
    )


def _entry(name: str) -> Mapping[str, Any]:
    entry = load_model_list().get(name)
    return entry if isinstance(entry, Mapping) else {}
