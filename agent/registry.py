"""Agents by name: what the modules named in `THREADMILL_AGENT_MODULES` register when they are imported."""

import importlib
import traceback
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import threadmill_packages
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
        if module in threadmill_packages.NAMES:
            raise InvalidSettings(f"THREADMILL_AGENT_MODULES: {_say_taken(module)}")
        try:
            importlib.import_module(module)
        except ImportError as error:
            if (reason := _explain(module, error)) is None:
                raise
            raise InvalidSettings(f"THREADMILL_AGENT_MODULES: {module}: {error}{reason}") from error
    if not _agents:
        raise InvalidSettings("THREADMILL_AGENT_MODULES: no module registered an agent; call register(Agent(…)) in one")
    return registered_agents()


def _explain(module: str, error: ImportError) -> str | None:
    """The reason why a module cannot be imported, with the way out; None where its traceback says it better."""
    missing = error.name or ""
    if missing.partition(".")[0] in threadmill_packages.NAMES:
        return f"{_describe_place(error)}; {_say_taken(missing.partition('.')[0])}"
    if not isinstance(error, ModuleNotFoundError):
        return None
    if f"{module}.".startswith(f"{missing}."):
        return "; name modules that Python can import"
    return f"{_describe_place(error)}; install it in the worker's environment, or mend its name"


def _say_taken(name: str) -> str:
    return f"{name!r} is Threadmill's own package in its workers: give yours another name ({threadmill_packages.PAGE})"


def _describe_place(error: ImportError) -> str:
    """Where a module's own code imports what is not there."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    return f", in {frames[-1].filename}, line {frames[-1].lineno}" if frames and frames[-1].filename != __file__ else ""
