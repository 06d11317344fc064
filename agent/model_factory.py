"""The models by name. Slow libraries are imported only for the models that need them."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from agent.models.protocol import RECALL_MODEL, Model
from agent.offline.model import RecallModel


@cache
def model_for(name: str) -> Model:
    """The model of that name, shared by every agent of the process."""
    return RecallModel() if name == RECALL_MODEL else _provider_model()


def preload(
    name: str, *, fallbacks: Sequence[str] = (), parameters: Mapping[str, Any] = MappingProxyType({}), has_tools: bool
) -> None:
    """Import what an agent's models need: seconds for those that only litellm knows, so before a worker consumes.

    `parameters` are those with which the first one is asked: some only litellm translates.
    """
    if name == RECALL_MODEL and not fallbacks:
        return
    from agent.models.choose_road import load_roads

    load_roads((name, *fallbacks), parameters, has_tools=has_tools)


@cache
def _provider_model() -> Model:
    from agent.models.provider_model import ProviderModel

    return ProviderModel()
