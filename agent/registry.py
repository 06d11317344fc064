"""Agents by name: what the modules named in `THREADMILL_AGENT_MODULES` register when they are imported."""

import importlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from agent.agent import Agent
from conversation.errors import InvalidInput, InvalidSettings

_agents: dict[str, Agent] = {}


def register(agent: Agent) -> Agent:
    """Offer an agent under its name. Raises `InvalidInput` if another one has that name."""
    registered_agent = _agents.setdefault(agent.name, agent)
    if registered_agent is not agent and registered_agent.version != agent.version:
        raise InvalidInput("agent.name", f"{agent.name!r} is registered twice", "give one of the two another name")
    return registered_agent


def registered_agents() -> Mapping[str, Agent]:
    """Every agent that this process serves, by name."""
    return MappingProxyType(_agents)


def load(modules: Iterable[str]) -> Mapping[str, Agent]:
    """Import modules that register agents. Raises `InvalidSettings` where one cannot be imported."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise InvalidSettings(
                f"THREADMILL_AGENT_MODULES: {module}: {error}; name modules that Python can import"
            ) from error
    if not _agents:
        raise InvalidSettings("THREADMILL_AGENT_MODULES: no module registered an agent; call register(Agent(…)) in one")
    return registered_agents()
