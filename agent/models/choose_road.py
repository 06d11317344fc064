"""The choice of the road to a model: straight over HTTP, or through litellm.

What stays true: a request goes straight only where what is sent is what litellm would send; whatever litellm
translates besides, and every other provider, goes through it. Tests compare the two.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from agent.models.credentials import for_another_provider
from agent.models.http.endpoints import find_endpoint
from agent.models.http.translated import is_translated
from agent.models.litellm_road import LitellmRoad, load
from agent.models.model_list import provider_of
from agent.models.profiles import LITELLM_PREFIX
from agent.models.protocol import RECALL_MODEL
from agent.models.road import Road


def choose_road(model_name: str, parameters: Mapping[str, Any], *, has_tools: bool) -> Road:
    """The road to a model with these parameters, whether or not it is given tools."""
    if needs_litellm(model_name, parameters, has_tools=has_tools):
        return LitellmRoad()
    return _http_road()


def needs_litellm(model_name: str, parameters: Mapping[str, Any], *, has_tools: bool) -> bool:
    """Whether a model is asked through litellm: its name says so, or only litellm knows how."""
    if model_name.startswith(LITELLM_PREFIX):
        return True
    endpoint = find_endpoint(model_name)
    return endpoint is None or is_translated(endpoint, model_name, parameters, has_tools=has_tools)


def load_roads(names: Sequence[str], parameters: Mapping[str, Any], *, has_tools: bool) -> None:
    """Import what the roads to these models need; the parameters are those of the first one."""
    for name in names:
        is_own = provider_of(name) == provider_of(names[0])
        own_parameters = parameters if is_own else for_another_provider(parameters)
        if name == RECALL_MODEL:
            continue
        if needs_litellm(name, own_parameters, has_tools=has_tools):
            load()
        else:
            _http_road()


@cache
def _http_road() -> Road:
    from agent.models.http.road import HttpRoad  # it imports the HTTP client, which not every process needs

    return HttpRoad()
