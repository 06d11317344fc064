"""Signed thinking in a request: where it is sent back, and when it has to be switched off.

What stays true: providers that sign thinking refuse a loop of tools that does not begin with it while it is
switched on, and thinking while it is switched off. A loop that another family began or went on with,
as a fallback does, has none to begin with: then this one request does not think.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.models.profiles import ProviderProfile
from agent.models.provider_fields import has_thinking, is_of_family

#: Parameters that switch thinking on.
_SWITCHES = ("thinking", "reasoning_effort")


def fit_thinking(
    parameters: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], profile: ProviderProfile
) -> tuple[dict[str, Any], frozenset[int]]:
    """Fit the parameters, and choose the messages, by index, whose thinking is sent back."""
    if not profile.checks_thinking:
        return dict(parameters), frozenset(range(len(messages)))
    loop = _open_loop(messages)
    if not _is_on(parameters):
        # A model that thinks by itself wants its thinking back within the loop alone.
        begins_with_thinking = bool(loop) and has_thinking(messages[loop[0]], profile)
        return dict(parameters), frozenset(loop if begins_with_thinking else ())
    if loop and not _may_think_on(messages, loop, parameters, profile):
        return {name: value for name, value in parameters.items() if name not in _SWITCHES}, frozenset()
    return dict(parameters), frozenset(range(len(messages)))


def fallback_parameters(parameters: Mapping[str, Any], profile: ProviderProfile) -> dict[str, Any]:
    """Choose the parameters of a fallback: one of another family's refuses what it does not know."""
    return {name: value for name, value in parameters.items() if name != "thinking" or profile.takes_thinking}


def _is_on(parameters: Mapping[str, Any]) -> bool:
    kind = _thinking_type(parameters)
    return kind not in (None, "disabled") or parameters.get("reasoning_effort") not in (None, "none", "disable")


def _thinking_type(parameters: Mapping[str, Any]) -> Any:
    thinking = parameters.get("thinking")
    return thinking.get("type") if isinstance(thinking, Mapping) else None


def _may_think_on(
    messages: Sequence[Mapping[str, Any]], loop: Sequence[int], parameters: Mapping[str, Any], profile: ProviderProfile
) -> bool:
    if _thinking_type(parameters) == "adaptive":
        return True
    return has_thinking(messages[loop[0]], profile) and is_of_family(messages[loop[-1]], profile)


def _open_loop(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The assistant's messages since a user last spoke, where tools have answered the last one."""
    start = max((index for index, message in enumerate(messages) if message["role"] == "user"), default=-1) + 1
    return [index for index in range(start, len(messages)) if messages[index]["role"] == "assistant"]
